"""The classes of survimg that a model file may hold, by the label under which files name them.

A class belongs here if its whole state is plain data, and if none of its methods runs code from
that state. Beside it stand the forms of what `fit` stores (`survimg.model_files.attribute_forms`).
Labels do not change when a class moves, so that old files can be read. `survimg.saving` adds
`FitOnce`, which itself stores its fits as model files.
"""

from __future__ import annotations

from collections.abc import Mapping

from survimg import training
from survimg.estimators import deep, mtdlr, tabular
from survimg.estimators.compose.fold_ensemble import FoldEnsemble
from survimg.estimators.compose.fold_ensemble_classifier import FoldEnsembleClassifier
from survimg.estimators.compose.out_of_fold import OutOfFold
from survimg.estimators.compose.survival_stacking import SurvivalStacking
from survimg.estimators.compose.survival_voting import SurvivalVoting
from survimg.estimators.deep.fusion_inputs import ClinicalEncoding, Standardised
from survimg.estimators.mtdlr.few_covariates import FewCovariatesCox
from survimg.estimators.mtdlr.region import NetworkScoreAndRadiomics
from survimg.estimators.saved_checks import (
    check_baseline,
    check_classes,
    check_combat,
    check_few_covariates,
    check_objective,
    check_radiomics,
)
from survimg.features import ClinicalFeatures, ComBat, ForestSelector, SpearmanFilter, TumourVolume
from survimg.model_files.third_party import labelled
from survimg.model_files.validators import Validator
from survimg.model_selection import (
    EventStratifiedGroupKFold,
    EventStratifiedKFold,
    KnownGroups,
    LeaveOneCentreOut,
    RepeatedEventStratifiedGroupKFold,
    RepeatedEventStratifiedKFold,
)
from survimg.nets import SwinTransformer3D
from survimg.nets.transfer import LoadReport
from survimg.radiomics import IBSISettings, RadiomicsFeatures
from survimg.radiomics.ibsi.filters import (
    GaborFilter,
    LaplacianOfGaussian,
    LawsFilter,
    MeanFilter,
    SeparableWavelet,
    SimoncelliWavelet,
)
from survimg.survival.breslow import BreslowBaseline

__all__ = ["SAVED_CLASSES"]

_PREPARED = {
    "channel_names_in_": "tuple=c | none", "preparation_in_": "anything",
    "_sklearn_output_config": "dict",
}  # fmt: skip
_MEASURED = {**_PREPARED, "measured_on_": "text", "voxels_in_": "anything"}
_SEEN = {
    "n_features_in_": "size=p", "feature_names_in_": "object[p]", "_sklearn_output_config": "dict",
}  # fmt: skip
_CURVES = {"baseline_": "model", "training_outcome_": "outcome[n]", "slope_": "number"}
_NETWORK = {
    "channel_names_in_": "tuple=c", "n_channels_in_": "size=c", "preparation_in_": "anything",
    "volume_shape_in_": "sizes=3", "history_": "table", "precision_": "text",
    "best_epoch_": "size", "load_report_": "model", "trained_with_masks_": "flag",
}  # fmt: skip
_CLINICAL = {
    "clinical_encoder_": "model | none", "clinical_names_in_": "tuple=q",
    "_clinical_mean": "series=q", "_clinical_scale": "series=q",
}  # fmt: skip
_TOWARDS = {
    "objective_": "model", "time_cuts_": "float[?]", "risk_horizon_": "number",
    "clinical_p_values_": "dict",
}  # fmt: skip
_SURVIVAL = {**_NETWORK, **_CLINICAL, **_CURVES, **_TOWARDS}
_FUSION = {
    **_NETWORK,
    "clinical_encoder_": "model | none", "extractor_": "model | none", "selection_": "model | none",
    "table_names_in_": "tuple=q", "_standardised": "model | none",
}  # fmt: skip
_SCORE_COX = Validator({
    **_PREPARED, **_CURVES,
    "clinical_encoder_": "model", "training_scores_": "table=n", "training_flags_": "table=n",
    "training_covariates_": "table=n", "training_risk_": "float[n]", "selection_": "table | none",
    "cox_": "model", "_deep": "model", "_radio": "model", "_extractor": "model",
})  # fmt: skip
_IMAGE = {"clinical_coefficients_": "float[q]", "n_outputs_": "size"}
_LABELS = {"classes_": "label[k]", "prevalence_": "number | float[k]"}
_OBJECTIVE = Validator({})
_FOLDS = Validator(dict.fromkeys((
    "n_splits", "n_repeats", "n_time_bins", "shuffle", "random_state", "groups", "centres",
    "splitter", "ids",
), "anything"))  # fmt: skip

SAVED_CLASSES: Mapping[str, tuple[type, Validator]] = {
    **labelled("survimg.clinical", {
        ClinicalFeatures: Validator({
            "columns_": "list", "kinds_": "dict", "levels_": "dict", "_spellings": "dict",
            "_binary": "list", "_empty": "anything", "references_": "dict", "encoder_": "model",
            "feature_names_out_": "object[?]", "_sklearn_output_config": "dict",
        }),
        TumourVolume: Validator(_MEASURED),
    }),
    **labelled("survimg.estimators", {
        **dict.fromkeys((
            deep.DLPM, deep.MDSN, deep.CNNSurvival, deep.DeepMTS, deep.SingleTaskSurvival,
        ), Validator(_SURVIVAL, check_objective)),
        deep.DeepMTSClassifier: Validator({**_NETWORK, **_CLINICAL, **_LABELS}, check_classes),
        deep.FrozenEncoderFeatures: Validator({
            **_NETWORK, "n_features_out_": "size", "_sklearn_output_config": "dict",
        }),
        deep.FusionClassifier: Validator({**_FUSION, **_LABELS}, check_classes),
        deep.FusionSurvival: Validator({**_FUSION, **_CURVES, **_TOWARDS}, check_objective),
        deep.ImageClassifier: Validator(
            {**_NETWORK, **_CLINICAL, **_IMAGE, **_LABELS}, check_classes
        ),
        deep.ImageSurvival: Validator({**_SURVIVAL, **_IMAGE}, check_objective),
        deep.TumourSegmenter: Validator(_NETWORK),
        mtdlr.MTDLR: _SCORE_COX,
        mtdlr.ClinicalCox: _SCORE_COX,
        mtdlr.ManualRadiomicsCox: _SCORE_COX,
        mtdlr.SingleTaskCox: _SCORE_COX,
        tabular.ClinicalVolumeCox: Validator({
            **_CURVES,
            "volume_": "model", "clinical_encoder_": "model | none", "feature_names_": "object[p]",
            "mean_": "float[p]", "coef_": "float[p]", "information_": "float[p, p]",
            "_prior": "float[p, p]",
        }),
        tabular.DeepSurv: Validator({
            **_SEEN, **_CURVES, "_mean": "float[p]", "_scale": "float[p]", "history_": "table",
        }),
        tabular.ICARE: Validator({
            **_SEEN, **_CURVES,
            "signs_": "int[m, p]", "means_": "float[m, p]", "scales_": "float[m, p]",
            "importance_": "float[p]", "members_": "table=m",
        }),
        tabular.LassoCox: Validator({
            **_SEEN, **_CURVES,
            "penalty_factor_": "float[p]", "mean_": "float[p]", "scale_": "float[p]",
            "alphas_": "float[a]", "coef_path_": "float[p, a]", "cv_deviance_": "float[a] | none",
            "cv_deviance_se_": "float[a] | none", "alpha_min_": "number | none",
            "alpha_1se_": "number | none", "alpha_": "number", "coef_": "float[p]",
        }),
        tabular.RandomSurvivalForest: Validator({
            **_SEEN,
            "training_outcome_": "outcome[n]", "time_grid_": "float[?] | none", "forest_": "model",
        }),
        ComBat: Validator({
            "centres_": "label[b]", "extractor_": "model", "_encoder": "model | none",
            "harmonised_": "bool[p]", "mean_": "float[p]", "spread_": "float[p]",
            "coef_": "float[q, p]", "shift_": "float[b, p]", "scale_": "float[b, p]",
            "feature_names_out_": "object[p]", "_sklearn_output_config": "dict",
        }, check_combat),
        FoldEnsemble: Validator({
            **_CURVES, "members_": "models=m", "means_": "float[m]", "scales_": "float[m]",
        }),
        FoldEnsembleClassifier: Validator({"members_": "models=m", "classes_": "label[k]"}),
        OutOfFold: Validator({
            "method_": "text", "estimator_": "model", "_unit": "numbers=2 | none",
            "feature_names_out_": "object[?]", "_sklearn_output_config": "dict",
        }),
        SurvivalStacking: Validator({"risks_": "model", "final_estimator_": "model"}),
        SurvivalVoting: Validator({"estimators_": "models=m", "training_risks_": "float[m, n]"}),
    }),
    **labelled("survimg.estimators.baseline", {
        BreslowBaseline: Validator({
            "unique_times_": "float[t]", "log_cumulative_hazard_": "float[t]",
        }, check_baseline),
    }),
    **labelled("survimg.estimators.fusion_inputs", {
        ClinicalEncoding: Validator({"features": "model", "marked": "list"}),
        Standardised: Validator({"mean": "series=q", "scale": "series=q"}),
    }),
    **labelled("survimg.estimators.mtdlr_cox", {
        FewCovariatesCox: Validator({
            "names": "tuple=p", "coefficients": "float[p]", "covariance": "float[p, p]",
            "means": "float[p]", "event_times": "float[t]",
            "cumulative_baseline_hazard": "float[t]", "n_patients": "size", "n_events": "size",
        }, check_few_covariates),
    }),
    **labelled("survimg.estimators.mtdlr_region", {
        NetworkScoreAndRadiomics: Validator({
            "estimator_": "model", "_unit": "numbers=2", "mask_sizes_": "sizes=2 | none",
        }),
    }),
    **labelled("survimg.model_selection", dict.fromkeys((
        EventStratifiedGroupKFold, EventStratifiedKFold, KnownGroups, LeaveOneCentreOut,
        RepeatedEventStratifiedGroupKFold, RepeatedEventStratifiedKFold,
    ), _FOLDS)),
    **labelled("survimg.nets", {SwinTransformer3D: Validator({})}),
    **labelled("survimg.nets.transfer", {
        LoadReport: Validator(dict.fromkeys(
            ("loaded", "missing", "unexpected", "mismatched"), "tuple"
        )),
    }),
    **labelled("survimg.radiomics", {
        IBSISettings: Validator({}),
        RadiomicsFeatures: Validator({
            **_MEASURED, "ibsi_identifiers_": "dict", "n_features_out_": "size",
        }, check_radiomics),
    }),
    **labelled("survimg.radiomics.filters", dict.fromkeys((
        GaborFilter, LaplacianOfGaussian, LawsFilter, MeanFilter, SeparableWavelet,
        SimoncelliWavelet,
    ), Validator({}))),
    **labelled("survimg.selection", {
        ForestSelector: Validator(
            {**_SEEN, "importances_": "float[p]", "support_": "bool[p]"}
        ),
        SpearmanFilter: Validator({
            **_SEEN, "support_": "bool[p]", "representative_": "int[p]", "concordance_": "float[p]",
        }),
    }),
    **labelled("survimg.training", dict.fromkeys((
        training.Classification, training.Cox, training.DeepHit, training.DiscreteTime,
        training.MTLR, training.Net,
    ), _OBJECTIVE)),
}  # fmt: skip
