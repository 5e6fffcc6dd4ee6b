"""Ready pipelines from a cohort to a survival model on radiomic or deep features.

`radiomics_pipeline` and `deep_features_pipeline` take the survival model; the other functions are
the two with the models that the DeepMTS paper compares. All have the same two steps. ``"features"``
joins two tables column by column: the filtered image features, under the prefix ``radiomics__`` or
``deep__``, and the encoded clinical columns, under ``clinical__``. ``"model"`` is the survival
model. Everything learned, imputation and the filter included, is learned in `fit`, and so on the
training folds alone. Parameters are reached by name, for example
``features__radiomics__filter__threshold`` in a `GridSearchCV`, and
``pipeline[-1].selected_features_`` reads the features that a Lasso-Cox model keeps.

Deep features cost network trainings: ``cv`` + 1 for a training set, where each of the ``cv``
networks gives the features of the patients it was not trained on and the last one, trained on all,
those of new patients; one alone with ``in_sample=True``. Pipelines with the same network, training
set, ``cv`` and ``memory`` folder share them, whatever model they end in, so that Lasso-Cox, forest
and DeepSurv on deep features cost ``cv`` + 1 trainings, not three times as many, and their
in-sample versions cost none on top: their network is the one trained on all (see `FitOnce`). In
a k-fold comparison with s seeds that is k * s * (``cv`` + 1) trainings.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sklearn.base import clone
from sklearn.impute import SimpleImputer
from sklearn.pipeline import FeatureUnion, Pipeline

from survimg.estimators.compose.fit_once import FitOnce
from survimg.estimators.compose.out_of_fold import OutOfFold
from survimg.estimators.deep.deepmts import DeepMTS
from survimg.estimators.tabular.deepsurv import DeepSurv
from survimg.estimators.tabular.lasso_cox import LassoCox
from survimg.estimators.tabular.random_survival_forest import RandomSurvivalForest
from survimg.features.clinical import ClinicalFeatures
from survimg.features.selection import SpearmanFilter
from survimg.radiomics import RadiomicsFeatures

__all__ = [
    "deep_features_deepsurv",
    "deep_features_lasso_cox",
    "deep_features_pipeline",
    "deep_features_rsf",
    "radiomics_deepsurv",
    "radiomics_lasso_cox",
    "radiomics_pipeline",
    "radiomics_rsf",
]


def radiomics_pipeline(
    model: Any,
    *,
    extractor: Any = None,
    clinical_columns: Sequence[str] | None = None,
    threshold: float = 0.7,
) -> Pipeline:
    """Radiomic features, redundancy filter, clinical columns, and a survival model.

    Parameters
    ----------
    model : survival estimator
        Of tables, such as `LassoCox`.
    extractor : transformer, optional
        Cohort to DataFrame; by default ``RadiomicsFeatures()``. Give it ``memory=`` so that folds
        share the extraction.
    clinical_columns : sequence of str, optional
        Clinical columns that are joined after the filter. None (default) joins all of the cohort,
        which must then have some; an empty sequence joins none.
    threshold : float, default=0.7
        Absolute Spearman correlation above which one of two features is dropped.

    Returns
    -------
    Pipeline

    References
    ----------
    Meng M, Gu B, Bi L, et al. DeepMTS. IEEE J Biomed Health Inform 2022;26(9):4497-4507 (its
    radiomics comparators).

    Examples
    --------
    >>> from survimg.estimators import LassoCox, radiomics_pipeline
    >>> list(radiomics_pipeline(LassoCox()).named_steps)
    ['features', 'model']
    """
    extractor = RadiomicsFeatures() if extractor is None else extractor
    return _pipeline("radiomics", extractor, clinical_columns, threshold, model)


def deep_features_pipeline(
    model: Any,
    *,
    estimator: Any = None,
    cv: int | Any = 5,
    in_sample: bool = False,
    memory: Any = None,
    clinical_columns: Sequence[str] | None = None,
    threshold: float = 0.7,
    n_jobs: int | None = None,
) -> Pipeline:
    """Deep features, redundancy filter, clinical columns, and a survival model.

    Parameters
    ----------
    model : survival estimator
        Of tables, such as `LassoCox`.
    estimator : estimator with `transform`, optional
        The network; by default ``DeepMTS(random_state=0)``, whose 236 features are used.
    cv : int or splitter, default=5
        Folds of `OutOfFold`, which gives the model features of patients the network was not
        trained on; the network is trained ``cv`` + 1 times.
    in_sample : bool, default=False
        Train the model on the features of the network's own training patients, as published: the
        network is trained once, `cv` is not used, and the model trusts features that are worse for
        new patients.
    memory : path-like, joblib.Memory or None
        Folder where trained networks are kept and found again by other pipelines: see `FitOnce`.
    clinical_columns, threshold
        As in `radiomics_pipeline`.
    n_jobs : int, optional
        Networks trained at a time, see `OutOfFold`; not used with `in_sample`.

    Returns
    -------
    Pipeline
    """
    network = FitOnce(DeepMTS(random_state=0) if estimator is None else estimator, memory=memory)
    extractor: Any = network
    if not in_sample:
        extractor = OutOfFold(network, method="transform", cv=cv, n_jobs=n_jobs)
    return _pipeline("deep", extractor, clinical_columns, threshold, model)


def radiomics_lasso_cox(**options: Any) -> Pipeline:
    """`radiomics_pipeline` of Lasso-Cox.

    Parameters
    ----------
    **options
        As in `radiomics_pipeline`.

    Returns
    -------
    Pipeline
    """
    return radiomics_pipeline(LassoCox(), **options)


def radiomics_rsf(**options: Any) -> Pipeline:
    """`radiomics_pipeline` of a random survival forest.

    Parameters
    ----------
    **options
        As in `radiomics_pipeline`.

    Returns
    -------
    Pipeline
    """
    return radiomics_pipeline(RandomSurvivalForest(random_state=0), **options)


def radiomics_deepsurv(**options: Any) -> Pipeline:
    """`radiomics_pipeline` of DeepSurv.

    Parameters
    ----------
    **options
        As in `radiomics_pipeline`.

    Returns
    -------
    Pipeline
    """
    return radiomics_pipeline(DeepSurv(random_state=0), **options)


def deep_features_lasso_cox(**options: Any) -> Pipeline:
    """`deep_features_pipeline` of Lasso-Cox.

    Parameters
    ----------
    **options
        As in `deep_features_pipeline`.

    Returns
    -------
    Pipeline
    """
    return deep_features_pipeline(LassoCox(), **options)


def deep_features_rsf(**options: Any) -> Pipeline:
    """`deep_features_pipeline` of a random survival forest.

    Parameters
    ----------
    **options
        As in `deep_features_pipeline`.

    Returns
    -------
    Pipeline
    """
    return deep_features_pipeline(RandomSurvivalForest(random_state=0), **options)


def deep_features_deepsurv(**options: Any) -> Pipeline:
    """`deep_features_pipeline` of DeepSurv.

    Parameters
    ----------
    **options
        As in `deep_features_pipeline`.

    Returns
    -------
    Pipeline
    """
    return deep_features_pipeline(DeepSurv(random_state=0), **options)


def _pipeline(
    name: str, extractor: Any, clinical_columns: Sequence[str] | None, threshold: float, model: Any
) -> Pipeline:
    image = Pipeline(
        [
            ("extract", clone(extractor)),  # set_output below would change the caller's own
            # A feature that is missing for all becomes constant, and the filter drops it.
            ("impute", SimpleImputer(strategy="median", keep_empty_features=True)),
            ("filter", SpearmanFilter(threshold)),
        ]
    )
    parts: list[tuple[str, Any]] = [(name, image)]
    if clinical_columns is None or len(clinical_columns) > 0:
        parts.append(("clinical", ClinicalFeatures(clinical_columns=clinical_columns)))
    features = FeatureUnion(parts).set_output(transform="pandas")
    return Pipeline([("features", features), ("model", model)])
