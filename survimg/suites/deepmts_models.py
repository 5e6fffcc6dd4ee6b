"""The models of the DeepMTS paper by name: each function builds one unfitted estimator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from survimg.suites.settings import ModelSettings, make_network, set_on_network, share_work

__all__ = ["DEEPMTS_MODELS"]

#: Names of `survimg.estimators.deepmts_variant`, which would load torch to tell them; each also
#: with "-unet". The last one predicts masks and no risk.
_VARIANTS = (
    "deepmts",
    "mt-casnet",
    "mt-hs",
    "mt-hs-baseline",
    "sur-casnet",
    "sur-hs",
    "seg-backbone",
)
#: Models on tables of features, and how `survimg.estimators` writes them.
_TABLE_MODELS = {"lasso-cox": "lasso_cox", "rsf": "rsf", "deepsurv": "deepsurv"}


def _variant(settings: ModelSettings, *, name: str) -> Any:
    from survimg.estimators import deepmts_variant

    model = deepmts_variant(name.removesuffix("-masked"), published=settings.published)
    if not name.startswith("seg-"):
        masked = name.endswith("-masked")
        model.set_params(masked_input=masked, clinical_columns=settings.clinical_columns)
    return set_on_network(model, settings)


def _head(settings: ModelSettings, *, objective: str) -> Any:
    """Return DeepMTS with another loss than Cox's."""
    from survimg import training

    loss = getattr(training, objective)()
    return _variant(settings, name="deepmts").set_params(objective=loss)


def _two_stages(settings: ModelSettings) -> Any:
    """Return DeepMTS trained in the order of AdaMSS."""
    return _variant(settings, name="deepmts").set_params(
        segmentation_first=0.5, drop_segmentation=True, map_gradient=True
    )


def _network(settings: ModelSettings, *, kind: str) -> Any:
    from survimg import estimators

    columns = settings.clinical_columns
    return make_network(getattr(estimators, kind), settings, clinical_columns=columns)


def _radiomics(settings: ModelSettings, *, model: str) -> Any:
    from survimg import estimators

    build = getattr(estimators, f"radiomics_{model}")
    return share_work(build(clinical_columns=settings.clinical_columns), settings)


def _single_icare(settings: ModelSettings) -> Any:
    """One member, fitted to all patients and all columns."""
    pipeline = _radiomics(settings, model="icare")
    return pipeline.set_params(model__n_estimators=None, model__fraction=None)


def _deep_features(settings: ModelSettings, *, model: str, in_sample: bool = False) -> Any:
    from survimg import estimators

    build = getattr(estimators, f"deep_features_{model}")
    pipeline = build(
        estimator=_variant(settings, name="deepmts").set_params(random_state=0),
        cv=settings.inner_folds,
        in_sample=in_sample,
        clinical_columns=settings.clinical_columns,
    )
    return share_work(pipeline, settings)


#: Name on the command line to the function that builds the unfitted estimator.
DEEPMTS_MODELS: Mapping[str, Callable[[ModelSettings], Any]] = {
    **{
        name: partial(_variant, name=name)
        for name in (
            *_VARIANTS,
            *(f"{variant}-unet" for variant in _VARIANTS),
            "sur-hs-masked",
            "sur-casnet-masked",
        )
    },
    "deepmts-mtlr": partial(_head, objective="MTLR"),
    "deepmts-deephit": partial(_head, objective="DeepHit"),
    "deepmts-two-stages": _two_stages,
    "cnn-survival": partial(_network, kind="CNNSurvival"),
    "single-task": partial(_network, kind="SingleTaskSurvival"),
    "mdsn": partial(_network, kind="MDSN"),
    "dlpm": partial(_network, kind="DLPM"),
    **{
        f"radiomics-{name}": partial(_radiomics, model=model)
        for name, model in _TABLE_MODELS.items()
    },
    "radiomics-icare": partial(_radiomics, model="icare"),
    "radiomics-icare-single": _single_icare,
    **{
        f"deep-features-{name}": partial(_deep_features, model=model)
        for name, model in _TABLE_MODELS.items()
    },
    **{
        f"deep-features-{name}-in-sample": partial(_deep_features, model=model, in_sample=True)
        for name, model in _TABLE_MODELS.items()
    },
}
