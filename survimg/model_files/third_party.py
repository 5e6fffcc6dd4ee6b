"""Classes of scikit-learn and scikit-survival that a model file may hold, with what they store.

A class belongs here if its whole state is plain data, if no method of it runs code that it finds in
that state, and if its validator checks what compiled code takes for granted.
"""

from __future__ import annotations

from collections.abc import Mapping

from sklearn import (
    compose,
    decomposition,
    ensemble,
    feature_selection,
    frozen,
    impute,
    linear_model,
    model_selection,
    pipeline,
    preprocessing,
    tree,
)
from sksurv import ensemble as survival_ensemble
from sksurv import functions
from sksurv import linear_model as survival_linear_model
from sksurv import svm as survival_svm
from sksurv import tree as survival_tree
from sksurv.linear_model import coxph

from survimg.model_files.validators import (
    Validator,
    check_bins,
    check_boosting,
    check_curve,
    check_forest,
    check_labels,
    check_missing,
    check_one_hot,
    check_ordinal,
    check_polynomial,
    check_quantiles,
    check_survival_tree,
    check_tree,
)

__all__ = ["THIRD_PARTY", "labelled"]


def labelled(prefix: str, classes: Mapping[type, Validator]) -> dict[str, tuple[type, Validator]]:
    """Return classes by label: a prefix that stays what it is when a class moves, and its name.

    Parameters
    ----------
    prefix : str
    classes : mapping of type to Validator
    """
    return {f"{prefix}.{cls.__name__}": (cls, validator) for cls, validator in classes.items()}


# What `fit` stores in every transformer.
_SEEN = {
    "n_features_in_": "size=p",
    "feature_names_in_": "object[p]",
    "_sklearn_output_config": "dict",
}
_LEVELS = {
    "categories_": "list=p",
    "_infrequent_enabled": "flag",
    "_infrequent_indices": "list=p",
    "_default_to_infrequent_mappings": "list=p",
}
_TREE = {
    **_SEEN,
    "n_outputs_": "size=o", "max_features_": "size", "tree_": "anything", "class_weight": "none",
}  # fmt: skip
_CLASSES = {"classes_": "label[?] | list=o", "n_classes_": "size | int[o] | list=o"}
_FOREST = {
    **_SEEN,
    "n_outputs_": "size=o", "estimator": "model", "estimator_": "model", "estimators_": "models=m",
    "estimator_params": "tuple", "class_weight": "none", "_n_samples": "size",
    "_sample_weight": "none", "_n_samples_bootstrap": "size | none", "oob_score_": "number",
}  # fmt: skip
_TIMES = {"unique_times_": "float[t]", "is_event_time_": "bool[t]"}
_FITTED = Validator({"feature_names_in_": "object[?]", "n_features_in_": "size",
                     "_sklearn_output_config": "dict"})  # fmt: skip
_COMPONENTS = {
    **_SEEN,
    "components_": "float[k, p]", "explained_variance_": "float[k]",
    "explained_variance_ratio_": "float[k]", "singular_values_": "float[k]",
}  # fmt: skip
_SPLITTER = Validator({"n_splits": "size", "shuffle": "flag", "random_state": "anything",
                       "test_size": "anything", "train_size": "anything",
                       "_default_test_size": "number", "test_fold": "int[?]",
                       "unique_folds": "int[?]"})  # fmt: skip
_COX = {**_SEEN, "coef_": "float[p]"}

THIRD_PARTY: Mapping[str, tuple[type, Validator]] = {
    **labelled("sklearn.compose", {
        compose.ColumnTransformer: Validator({
            **_SEEN,
            "_columns": "list", "_transformer_to_input_indices": "dict", "_remainder": "tuple",
            "sparse_output_": "flag", "transformers_": "list", "output_indices_": "dict",
            "_name_to_fitted_passthrough": "dict",
            "_transformers_feature_names_out": "object[?] | list",
        }),
    }),
    **labelled("sklearn.decomposition", {
        decomposition.PCA: Validator({
            **_COMPONENTS,
            "_fit_svd_solver": "text", "mean_": "float[p]", "noise_variance_": "number",
            "n_samples_": "size", "n_components_": "size=k",
        }),
        decomposition.TruncatedSVD: Validator(_COMPONENTS),
    }),
    **labelled("sklearn.ensemble", {
        ensemble.RandomForestClassifier: Validator(
            {**_FOREST, **_CLASSES, "oob_decision_function_": "float[?, ?]"}, check_forest
        ),
        ensemble.RandomForestRegressor: Validator(
            {**_FOREST, "oob_prediction_": "float[?] | float[?, ?]"}, check_forest
        ),
    }),
    **labelled("sklearn.feature_selection", {
        feature_selection.SelectFromModel: Validator({
            **_SEEN, "estimator_": "model", "max_features_": "size", "threshold_": "number",
        }),
        **dict.fromkeys((
            feature_selection.GenericUnivariateSelect, feature_selection.SelectFdr,
            feature_selection.SelectFpr, feature_selection.SelectFwe,
            feature_selection.SelectKBest, feature_selection.SelectPercentile,
        ), Validator({**_SEEN, "scores_": "float[p]", "pvalues_": "float[p] | none"})),
        **dict.fromkeys((feature_selection.RFE, feature_selection.RFECV), Validator({
            **_SEEN,
            "estimator_": "model", "n_features_": "size", "support_": "bool[p]",
            "ranking_": "int[p]", "classes_": "label[?]", "cv_results_": "dict",
            "step_scores_": "anything", "step_support_": "anything", "step_ranking_": "anything",
            "step_n_features_": "anything",
        })),
        feature_selection.SequentialFeatureSelector: Validator({
            **_SEEN, "n_features_to_select_": "size", "support_": "bool[p]",
        }),
        feature_selection.VarianceThreshold: Validator({**_SEEN, "variances_": "float[p]"}),
    }),
    **labelled("sklearn.frozen", {frozen.FrozenEstimator: _FITTED}),
    **labelled("sklearn.impute", {
        impute.KNNImputer: Validator({
            **_SEEN,
            "_fit_X": "float[n, p]", "_mask_fit_X": "bool[n, p]", "_valid_mask": "bool[p]",
            "indicator_": "model | none",
        }),
        impute.MissingIndicator: Validator(
            {**_SEEN, "_n_features": "size=p", "_precomputed": "flag", "features_": "int[?]"},
            check_missing,
        ),
        impute.SimpleImputer: Validator({
            **_SEEN,
            "statistics_": "label[p]", "indicator_": "model | none", "_fit_dtype": "dtype",
            "_fill_dtype": "dtype",
        }),
    }),
    **labelled("sklearn.linear_model", {
        **dict.fromkeys((
            linear_model.ElasticNet, linear_model.Lasso, linear_model.LinearRegression,
            linear_model.Ridge,
        ), Validator({
            **_SEEN,
            "l1_ratio": "number", "coef_": "float[p] | float[o, p]",
            "intercept_": "number | float[o]",
            "n_iter_": "anything", "dual_gap_": "anything", "solver_": "text", "rank_": "size",
            "singular_": "float[?]",
        })),
        linear_model.LogisticRegression: Validator({
            **_SEEN, "coef_": "float[k, p]", "intercept_": "float[k]", "classes_": "label[?]",
            "n_iter_": "int[?]",
        }, check_labels),
    }),
    **labelled("sklearn.model_selection", dict.fromkeys((
        model_selection.GroupKFold, model_selection.GroupShuffleSplit, model_selection.KFold,
        model_selection.LeaveOneGroupOut, model_selection.LeaveOneOut,
        model_selection.PredefinedSplit, model_selection.ShuffleSplit,
        model_selection.StratifiedGroupKFold, model_selection.StratifiedKFold,
        model_selection.StratifiedShuffleSplit,
    ), _SPLITTER)),
    **labelled("sklearn.pipeline", {
        pipeline.FeatureUnion: Validator(
            {**_FITTED.forms, "_transformers_feature_names_out": "object[?] | list"}
        ),
        pipeline.Pipeline: _FITTED,
    }),
    **labelled("sklearn.preprocessing", {
        preprocessing.Binarizer: Validator(_SEEN),
        preprocessing.FunctionTransformer: Validator(_SEEN),
        preprocessing.KBinsDiscretizer: Validator({
            **_SEEN, "bin_edges_": "object[p]", "n_bins_": "int[p]", "_encoder": "model",
        }, check_bins),
        preprocessing.MaxAbsScaler: Validator({
            **_SEEN, "n_samples_seen_": "number", "max_abs_": "float[p]", "scale_": "float[p]",
        }),
        preprocessing.MinMaxScaler: Validator({
            **_SEEN,
            "n_samples_seen_": "number", "scale_": "float[p]", "min_": "float[p]",
            "data_min_": "float[p]", "data_max_": "float[p]", "data_range_": "float[p]",
        }),
        preprocessing.Normalizer: Validator(_SEEN),
        preprocessing.OneHotEncoder: Validator({
            **_SEEN, **_LEVELS, "drop_idx_": "none | object[p]",
            "_drop_idx_after_grouping": "none | object[p]", "_n_features_outs": "list=p",
        }, check_one_hot),
        preprocessing.OrdinalEncoder: Validator(
            {**_SEEN, **_LEVELS, "_missing_indices": "dict"}, check_ordinal
        ),
        preprocessing.PolynomialFeatures: Validator({
            **_SEEN, "_min_degree": "size", "_max_degree": "size", "_n_out_full": "size",
            "n_output_features_": "size",
        }, check_polynomial),
        preprocessing.PowerTransformer: Validator(
            {**_SEEN, "lambdas_": "float[p]", "_scaler": "model", "_scaler_": "model"}
        ),
        preprocessing.QuantileTransformer: Validator({
            **_SEEN,
            "n_quantiles_": "size=q", "references_": "float[q]", "quantiles_": "float[q, p]",
        }, check_quantiles),
        preprocessing.RobustScaler: Validator(
            {**_SEEN, "center_": "float[p] | none", "scale_": "float[p] | none"}
        ),
        preprocessing.StandardScaler: Validator({
            **_SEEN, "n_samples_seen_": "number | int[p] | float[p]", "mean_": "float[p] | none",
            "var_": "float[p] | none", "scale_": "float[p] | none",
        }),
    }),
    **labelled("sklearn.tree", {
        tree.DecisionTreeClassifier: Validator({**_TREE, **_CLASSES}, check_tree),
        tree.DecisionTreeRegressor: Validator(_TREE, check_tree),
    }),
    **labelled("sksurv.ensemble", dict.fromkeys((
        survival_ensemble.ExtraSurvivalTrees, survival_ensemble.RandomSurvivalForest,
    ), Validator({**_FOREST, **_TIMES, "oob_prediction_": "float[?]"}, check_forest))),
    **labelled("sksurv.ensemble", {
        survival_ensemble.GradientBoostingSurvivalAnalysis: Validator({
            **_SEEN,
            "estimators_": "object[m, 1]", "n_estimators_": "size=m", "train_score_": "float[m]",
            "n_trees_per_iteration_": "size", "max_features_": "size", "init_": "model | text",
            "init": "anything", "criterion": "text", "alpha": "number", "_loss": "anything",
            "_rng": "anything", "_baseline_model": "model | none", "oob_improvement_": "float[m]",
            "oob_scores_": "float[m]", "oob_score_": "number",
        }, check_boosting),
    }),
    **labelled("sksurv.functions", {
        functions.StepFunction: Validator(
            {"x": "float[t]", "y": "float[t]", "a": "number", "b": "number", "_domain": "tuple=2"},
            check_curve,
        ),
    }),
    **labelled("sksurv.linear_model", {
        survival_linear_model.CoxPHSurvivalAnalysis: Validator(
            {**_COX, "_baseline_model": "model"}
        ),
        survival_linear_model.CoxnetSurvivalAnalysis: Validator({
            **_SEEN,
            "coef_": "float[p, a]", "alphas_": "float[a]", "alpha_min_ratio_": "number",
            "penalty_factor_": "float[p]", "deviance_ratio_": "float[a]", "offset_": "float[a]",
            "_baseline_models": "tuple=a | list=a | none",
        }),
        survival_linear_model.IPCRidge: Validator({
            **_COX, "intercept_": "number", "n_iter_": "anything", "solver_": "text",
        }),
    }),
    **labelled("sksurv.linear_model.coxph", {
        coxph.BreslowEstimator: Validator({
            "cum_baseline_hazard_": "model", "baseline_survival_": "model",
            "unique_times_": "float[?]",
        }),
    }),
    **labelled("sksurv.svm", {
        survival_svm.FastSurvivalSVM: Validator({**_COX, "intercept_": "number"}),
        survival_svm.NaiveSurvivalSVM: Validator({
            **_SEEN, "coef_": "float[1, p]", "intercept_": "number | float[1]",
            "classes_": "label[2]", "n_iter_": "anything", "C": "number", "multi_class": "text",
            "fit_intercept": "flag", "intercept_scaling": "number", "class_weight": "anything",
        }),
        survival_svm.HingeLossSurvivalSVM: Validator({
            **_SEEN, "X_fit_": "float[n, p]", "coef_": "float[?] | float[?, ?]", "n_iter_": "size",
        }),
    }),
    **labelled("sksurv.tree", dict.fromkeys((
        survival_tree.ExtraSurvivalTree, survival_tree.SurvivalTree,
    ), Validator({
        **_TREE, **_TIMES, "n_classes_": "int[o]",
    }, check_survival_tree))),
}  # fmt: skip
