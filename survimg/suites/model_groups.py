"""The models of the command line in groups, each with a few words."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["LABEL_MODEL_GROUPS", "MODEL_GROUPS"]

_PARTS_OF_DEEPMTS = {
    "mt-hs": "both tasks; risk from the encoder of the segmentation only",
    "mt-hs-baseline": "the same without 1x1x1 convolutions between the tasks",
    "mt-casnet": "both tasks; risk from a second network that reads the predicted mask",
    "sur-hs": "risk alone, from the encoder",
    "sur-casnet": "risk alone, from the second network, without a mask",
    "seg-backbone": "segmentation alone: masks and no risk",
}
_HEADS = {"lasso-cox": "Lasso-Cox", "rsf": "random survival forest", "deepsurv": "DeepSurv"}

#: Heading to the models below it, each with a few words; every model of `MODELS` is in one group.
MODEL_GROUPS: Mapping[str, Mapping[str, str]] = {
    "Clinical columns and tumour volume": {
        "clinical-volume-cox": "Cox model of clinical columns and log volume: the reference",
        "clinical-cox": "Cox model of clinical columns alone",
    },
    "Radiomics of given masks": {
        **{f"radiomics-{name}": f"1456 features, {head}" for name, head in _HEADS.items()},
        "radiomics-icare": "votes of signs of features, a bag of them (HECKTOR 2022)",
        "radiomics-icare-single": "one member of that bag",
        "manual-radiomics": "the radiomics score of the MTDLR paper",
        "manual-radiomics-clinical": "that score with clinical columns",
    },
    "Networks over volumes": {
        "deepmts": "risk and tumour mask from one network (Meng 2022)",
        "deepmts-mtlr": "the same network, multi-task logistic regression over intervals",
        "deepmts-deephit": "the same network, DeepHit's loss for one kind of event",
        "deepmts-two-stages": "the same network, segmentation first, then risk alone (AdaMSS)",
        "deepmts-image": "DeepMTS without clinical columns",
        "single-task": "3-D DenseNet, Cox loss",
        "single-task-image": "the same without clinical columns",
        "single-task-clinical": "its score in a Cox model with clinical columns",
        "mdsn": "3-D DenseNet of Jing et al., Cox loss",
        "dlpm": "shallow 3-D DenseNet of Kim et al., discrete times",
        "cnn-survival": "2-D network of Zhang et al. on one slice, discrete times",
    },
    "A network's score or features in a classic model": {
        "mtdlr": "score and masks of DeepMTS, radiomics, clinical columns: a nomogram (Gu 2023)",
        **{f"deep-features-{name}": f"236 features of DeepMTS, {head}"
           for name, head in _HEADS.items()},
        **{f"deep-features-{name}-in-sample": f"{head} on features that know the outcome: too good"
           for name, head in _HEADS.items()},
    },
    "Parts of DeepMTS, as in its paper": {
        **_PARTS_OF_DEEPMTS,
        "sur-hs-masked": "sur-hs on volumes that are zero outside the mask",
        "sur-casnet-masked": "sur-casnet on volumes that are zero outside the mask",
    },
    "The same with a plain 3-D U-Net": {
        "deepmts-unet": "deepmts with a plain U-Net as its backbone",
        **{f"{name}-unet": f"{name} with a plain U-Net" for name in _PARTS_OF_DEEPMTS},
    },
}  # fmt: skip

#: The same for the models of `LABEL_MODELS`.
LABEL_MODEL_GROUPS: Mapping[str, Mapping[str, str]] = {
    "Classifiers, with --label or --label-at": {
        "clinical-volume-logistic": "logistic regression of clinical columns and log volume: the "
        "reference",
        "clinical-logistic": "logistic regression of clinical columns alone",
        "radiomics-logistic": "1456 features, logistic regression",
        "radiomics-forest": "1456 features, random forest",
        "deepmts": "label and tumour mask from one network",
        "mt-hs": "both tasks; label from the encoder of the segmentation only",
        "sur-hs": "label alone, from the encoder",
        "deep-features-logistic": "236 features of the network deepmts, logistic regression",
        "deep-features-forest": "236 features of the network deepmts, random forest",
        "image-densenet": "3-D DenseNet of the volume",
        "image-resnet": "3-D ResNet of the volume",
    },
    "Classifiers that fuse tumour, shell around it, 1562 features and clinical columns": {
        "fusion": "all four (Tang 2025), Swin Transformers",
        **{f"fusion-{name}": f"{name} alone"
           for name in ("clinical", "radiomics", "tumour", "peritumoral")},
        **{f"fusion-{one}-{other}": f"{one} and {other}"
           for one, other in (
               ("tumour", "peritumoral"), ("tumour", "radiomics"), ("tumour", "clinical"),
               ("peritumoral", "radiomics"), ("peritumoral", "clinical"), ("radiomics", "clinical"),
           )},
        **{f"{name}-{body.lower()}": f"{name} with a {body} in the Swin Transformers' place"
           for name in ("fusion-tumour-peritumoral", "fusion") for body in ("DenseNet", "ResNet")},
    },
}  # fmt: skip
