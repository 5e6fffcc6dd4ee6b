"""Suite `fusion`: regions, features and clinical columns, alone and together, for a label.

The rows are those of Tang et al. 2025: single branches, pairs and all four, and the Swin
Transformer against conventional networks in its place. The paper's numbers are on other patients
with thresholds that it does not state; they are not repeated here.
"""

from __future__ import annotations

from survimg.suites.label_models import LABEL_REFERENCE
from survimg.suites.suite import Suite

__all__ = ["FUSION_SUITES"]

FUSION_SUITES = (
    Suite(
        name="fusion",
        title="Tumour, peritumoral shell, radiomics and clinical columns, alone and together",
        models=(
            LABEL_REFERENCE,
            "fusion-clinical",
            "fusion-radiomics",
            "fusion-tumour",
            "fusion-peritumoral",
            "fusion-tumour-peritumoral",
            "fusion-tumour-radiomics",
            "fusion-tumour-clinical",
            "fusion-peritumoral-radiomics",
            "fusion-peritumoral-clinical",
            "fusion-radiomics-clinical",
            "fusion",
            "fusion-densenet",
            "fusion-resnet",
        ),
        reference="fusion",
        published={},
        citation=(
            "Tang et al. 2025, arXiv:2508.20469 (v2: Tong N, et al., Prediction of distant "
            "metastasis in head and neck cancer patients using tumor and peritumoral multi-modal "
            "deep learning)."
        ),
    ),
)
