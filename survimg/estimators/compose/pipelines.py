"""Ready pipelines from a cohort to a survival model on radiomic or deep features.

`radiomics_pipeline` and `deep_features_pipeline` take a survival model; the other functions use the
models that the DeepMTS paper compares. All have two steps. ``"features"``
joins the filtered image features (prefix ``radiomics__`` or ``deep__``) and the encoded clinical
columns (prefix ``clinical__``). ``"model"`` is the survival model. Everything, including
imputation and filter, is learned in `fit`, and so from the training folds only. Names of parameters
are, for example, ``features__radiomics__filter__threshold``; ``pipeline[-1].selected_features_``
are the features that a Lasso-Cox model selects.

Deep features need ``cv`` + 1 trainings of the network for each training set: ``cv`` for the
out-of-fold features of training patients, and one on all of them for new patients. With
``in_sample=True`` only the last is needed. Pipelines with the same network, training
set, ``cv`` and ``memory`` folder share the trainings (see `FitOnce`). A k-fold comparison with s
seeds needs k * s * (``cv`` + 1) trainings.
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
from survimg.estimators.tabular.icare import ICARE
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
    "radiomics_icare",
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
        A model on tables, such as `LassoCox`.
    extractor : transformer, optional
        Cohort to DataFrame; by default ``RadiomicsFeatures()``. Give it ``memory=`` so that folds
        share the extraction.
    clinical_columns : sequence of str, optional
        Clinical columns that are added after the filter. None (default) adds all of the cohort,
        which must have some; an empty sequence adds none.
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
        A model on tables, such as `LassoCox`.
    estimator : estimator with `transform`, optional
        The network; by default ``DeepMTS(random_state=0)``, whose 236 features are used.
    cv : int or splitter, default=5
        Folds of `OutOfFold`: the model is trained on features from networks that were not trained
        on the patient. The network is trained ``cv`` + 1 times.
    in_sample : bool, default=False
        Train the model on in-sample features, as published: the network is trained once and `cv` is
        not used, but the model relies on features that are worse for new patients.
    memory : path-like, joblib.Memory or None
        Folder in which trained networks are stored and shared with other pipelines: see `FitOnce`.
    clinical_columns, threshold
        As in `radiomics_pipeline`.
    n_jobs : int, optional
        Networks trained in parallel, see `OutOfFold`; not used with `in_sample`.

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


def radiomics_icare(
    *, extractor: Any = None, clinical_columns: Sequence[str] | None = None
) -> Pipeline:
    """Radiomic features, clinical columns, and `ICARE` with a tenth of them for each member.

    Neither imputed nor filtered: the members leave missing values out and drop redundant columns.

    Parameters
    ----------
    extractor, clinical_columns
        As in `radiomics_pipeline`.

    Returns
    -------
    Pipeline
    """
    image = clone(RadiomicsFeatures() if extractor is None else extractor)
    model = ICARE(fraction=0.1, random_state=0)
    return _joined("radiomics", image, clinical_columns, model)


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
            ("extract", clone(extractor)),  # set_output below would change the caller's object
            # A feature that is missing for all patients becomes constant, and is filtered out.
            ("impute", SimpleImputer(strategy="median", keep_empty_features=True)),
            ("filter", SpearmanFilter(threshold)),
        ]
    )
    return _joined(name, image, clinical_columns, model)


def _joined(
    name: str, image: Any, clinical_columns: Sequence[str] | None, model: Any
) -> Pipeline:
    parts: list[tuple[str, Any]] = [(name, image)]
    if clinical_columns is None or len(clinical_columns) > 0:
        parts.append(("clinical", ClinicalFeatures(clinical_columns=clinical_columns)))
    features = FeatureUnion(parts).set_output(transform="pandas")
    return Pipeline([("features", features), ("model", model)])
