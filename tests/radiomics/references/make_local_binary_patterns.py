"""Write local_binary_patterns.json: PyRadiomics 3.0.1 on LBP2D and LBP3D.

PyRadiomics leaves LBP3D out with current versions of scipy, so that this runs where there are
``numpy<2 scipy<1.12 scikit-image trimesh pyradiomics==3.0.1`` and survimg's dependencies:

    cd tests/radiomics/references
    PYTHONPATH=../../..:../extractor python make_local_binary_patterns.py
"""

from __future__ import annotations

import json
from pathlib import Path

from extractor_cases import build_case, by_pyradiomics

CLASSES = {"firstorder": [], "glcm": ["Contrast", "JointEntropy"], "glszm": ["ZoneEntropy"]}
FILES = [
    {"setting": {"binWidth": 1}, "imageType": {"LBP2D": {}}},
    {
        "setting": {"binWidth": 1, "force2D": True, "force2Ddimension": 1},
        "imageType": {"LBP2D": {"lbp2DRadius": 2.5, "lbp2DSamples": 9, "lbp2DMethod": "ror"}},
    },
    {"setting": {"binWidth": 0.1}, "imageType": {"LBP3D": {}}},
    {
        "setting": {"binCount": 10},
        "imageType": {
            "LBP3D": {
                "lbp3DLevels": 4,
                "lbp3DIcosphereRadius": 1.7,
                "lbp3DIcosphereSubdivision": 2,
            }
        },
    },
]

records = []
for file in FILES:
    parameters = {**file, "featureClass": CLASSES}
    for kind in ("int16", "float64"):
        found = by_pyradiomics(parameters, build_case(kind=kind))
        values = {k: float(v) for k, v in found.items() if not k.startswith("diagnostics_")}
        records.append({"parameters": parameters, "kind": kind, "values": values})
text = json.dumps(records, indent=1)
Path(__file__).with_name("local_binary_patterns.json").write_text(text + "\n")
