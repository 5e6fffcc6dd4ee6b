"""Parameter files by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["NAMED_PARAMETERS"]

_GLCM = (
    "Autocorrelation ClusterProminence ClusterShade ClusterTendency Contrast Correlation "
    "DifferenceAverage DifferenceEntropy DifferenceVariance Id Idm Idmn Idn Imc1 Imc2 "
    "InverseVariance JointAverage JointEnergy JointEntropy MaximumProbability SumEntropy SumSquares"
)

#: ``"fusion-1562"``: a reading of Tang et al. (arXiv 2508.20469, 2025), who count 1562 features and
#: do not list them. 14 of shape, and 86 on each of 18 images give this number: first-order 18, GLCM
#: 22 (without MCC, and without SumAverage, which is twice JointAverage), GLRLM 16, GLSZM 16 and
#: GLDM 14; of the original image, 8 wavelet bands, Laplacians of Gaussian of 1 to 5 mm, square,
#: square root, logarithm and exponential. Theirs may be others.
NAMED_PARAMETERS: Mapping[str, Mapping[str, Any]] = {
    "fusion-1562": {
        "setting": {"binWidth": 25},
        "featureClass": {
            "shape": [],
            "firstorder": [],
            "glcm": _GLCM.split(),
            "glrlm": [],
            "glszm": [],
            "gldm": [],
        },
        "imageType": {
            "Original": {},
            "Wavelet": {"wavelet": "coif1"},
            "LoG": {"sigma": [1.0, 2.0, 3.0, 4.0, 5.0]},
            "Square": {},
            "SquareRoot": {},
            "Logarithm": {},
            "Exponential": {},
        },
    },
}
