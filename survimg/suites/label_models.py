"""Classifiers by name, for labels instead of times: each function builds one unfitted estimator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from survimg.suites.settings import ModelSettings, make_network, set_on_network, share_work

__all__ = ["DEFAULT_LABEL_MODELS", "LABEL_MASK_READERS", "LABEL_MODELS", "LABEL_REFERENCE"]

#: Model that classifiers are compared with.
LABEL_REFERENCE = "clinical-volume-logistic"

#: Branches of the fusion network by what follows "fusion-"; "fusion" has all of them.
_BRANCHES: Mapping[str, tuple[str, ...]] = {
    "fusion-clinical": ("clinical",),
    "fusion-radiomics": ("radiomics",),
    "fusion-tumour": ("tumour",),
    "fusion-peritumoral": ("peritumoral",),
    "fusion-tumour-peritumoral": ("tumour", "peritumoral"),
    "fusion-tumour-radiomics": ("tumour", "radiomics"),
    "fusion-tumour-clinical": ("tumour", "clinical"),
    "fusion-peritumoral-radiomics": ("peritumoral", "radiomics"),
    "fusion-peritumoral-clinical": ("peritumoral", "clinical"),
    "fusion-radiomics-clinical": ("radiomics", "clinical"),
    "fusion": ("tumour", "peritumoral", "radiomics", "clinical"),
}


def _logistic(settings: ModelSettings, *, volume: bool) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import FeatureUnion, Pipeline
    from sklearn.preprocessing import StandardScaler

    from survimg.features import ClinicalFeatures, TumourVolume

    parts: list[tuple[str, Any]] = [("volume", TumourVolume())] if volume else []
    if settings.clinical:
        parts.append(("clinical", ClinicalFeatures()))
    if not parts:
        raise ValueError("clinical-logistic needs clinical columns; the cohort has none left.")
    features = FeatureUnion(parts).set_output(transform="pandas")
    steps = [("features", features), ("scale", StandardScaler())]
    return Pipeline([*steps, ("model", LogisticRegression(max_iter=1000))])


def _table_model(name: str) -> Any:
    """Return a classifier of many columns."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    if name == "forest":
        return RandomForestClassifier(500, min_samples_leaf=3, random_state=0)
    # More columns than patients need more shrinkage than scikit-learn's default, 1.
    logistic = LogisticRegression(C=0.1, max_iter=1000)
    return Pipeline([("scale", StandardScaler()), ("logistic", logistic)])


def _radiomics(settings: ModelSettings, *, model: str) -> Any:
    from survimg.estimators import radiomics_pipeline

    pipeline = radiomics_pipeline(
        _table_model(model), clinical_columns=settings.clinical_columns
    )
    return share_work(pipeline, settings)


def _body(name: str) -> Any:
    """Return a small conventional network with 128 features; it halves a volume four times."""
    from monai.networks.nets import DenseNet, resnet10

    from survimg.training import Net

    if name == "densenet":
        return Net(
            DenseNet, out_channels=128, init_features=32, growth_rate=16, block_config=(4, 4, 4)
        )
    return Net(resnet10, num_classes=128, conv1_t_stride=2, no_max_pool=True)


def _deepmts(settings: ModelSettings, *, variant: str) -> Any:
    from survimg.estimators import DeepMTSClassifier

    columns = settings.clinical_columns
    return make_network(
        DeepMTSClassifier, settings, variant=variant, clinical_columns=columns
    )


def _deep_features(settings: ModelSettings, *, model: str) -> Any:
    from survimg.estimators import deep_features_pipeline

    pipeline = deep_features_pipeline(
        _table_model(model),
        estimator=_deepmts(settings, variant="deepmts").set_params(random_state=0),
        cv=settings.inner_folds,
        clinical_columns=settings.clinical_columns,
    )
    return share_work(pipeline, settings)


def _image(settings: ModelSettings, *, body: str) -> Any:
    from survimg.estimators import ImageClassifier

    _refuse_published(settings, "ImageClassifier")
    columns = settings.clinical_columns
    return set_on_network(ImageClassifier(net=_body(body), clinical_columns=columns), settings)


def _fusion(settings: ModelSettings, *, branches: tuple[str, ...], body: str | None = None) -> Any:
    from survimg.estimators import FusionClassifier
    from survimg.radiomics import RadiomicsFeatures

    _refuse_published(settings, "FusionClassifier")
    if not settings.clinical and "clinical" in branches:
        branches = tuple(name for name in branches if name != "clinical")
        if not branches:
            raise ValueError("fusion-clinical needs clinical columns; the cohort has none left.")
    extractor = None
    if "radiomics" in branches:
        extractor = RadiomicsFeatures(params="fusion-1562", on_empty_mask="nan")
    model = FusionClassifier(
        branches=branches, extractor=extractor, net=None if body is None else _body(body)
    )
    return share_work(set_on_network(model, settings), settings)


def _refuse_published(settings: ModelSettings, name: str) -> None:
    if settings.published:
        raise ValueError(f"--published: no paper gives the training of {name}.")


#: Name on the command line to the function that builds the unfitted classifier.
LABEL_MODELS: Mapping[str, Callable[[ModelSettings], Any]] = {
    "clinical-logistic": partial(_logistic, volume=False),
    LABEL_REFERENCE: partial(_logistic, volume=True),
    "radiomics-logistic": partial(_radiomics, model="logistic"),
    "radiomics-forest": partial(_radiomics, model="forest"),
    **{name: partial(_deepmts, variant=name) for name in ("deepmts", "mt-hs", "sur-hs")},
    "deep-features-logistic": partial(_deep_features, model="logistic"),
    "deep-features-forest": partial(_deep_features, model="forest"),
    "image-densenet": partial(_image, body="densenet"),
    "image-resnet": partial(_image, body="resnet"),
    **{name: partial(_fusion, branches=branches) for name, branches in _BRANCHES.items()},
    **{
        f"{name}-{body}": partial(_fusion, branches=_BRANCHES[name], body=body)
        for name in ("fusion-tumour-peritumoral", "fusion")
        for body in ("densenet", "resnet")
    },
}

#: Classifiers of a run that names neither models nor a suite.
DEFAULT_LABEL_MODELS = (
    LABEL_REFERENCE,
    "radiomics-logistic",
    "radiomics-forest",
    "deepmts",
)

#: Classifiers that read the mask of a patient whose label they predict.
LABEL_MASK_READERS = frozenset(
    {
        LABEL_REFERENCE,
        "radiomics-logistic",
        "radiomics-forest",
        *(name for name in LABEL_MODELS if name.startswith("fusion") and name != "fusion-clinical"),
    }
)
