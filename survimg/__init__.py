"""scikit-learn compatible survival estimators over medical image volumes.

`Cohort` holds the patients; estimators are in `survimg.estimators`, feature extraction in
`survimg.radiomics`, splitters in `survimg.model_selection`, statistics in `survimg.evaluation`.
`survimg.save` and `survimg.load` keep fitted estimators in folders that hold no code.
"""

import importlib
from typing import Any

from survimg.cohort import Cohort

__version__ = "0.1.0"

__all__ = ["Cohort", "__version__", "load", "save"]

_MODEL_FILES = ("load", "save")


def __getattr__(name: str) -> Any:
    # When asked for: model files need torch, and `import survimg` shall not load it.
    if name in _MODEL_FILES:
        return getattr(importlib.import_module("survimg.model_files"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
