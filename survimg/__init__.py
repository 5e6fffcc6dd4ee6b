"""scikit-learn compatible survival estimators over medical image volumes.

`Cohort` holds the patients; estimators are in `survimg.estimators`, feature extraction in
`survimg.radiomics`, splitters in `survimg.model_selection`, statistics in `survimg.evaluation`.
`survimg.save` and `survimg.load` keep fitted estimators in folders that hold no code.
"""

from typing import Any

from survimg.cohort import Cohort

__version__ = "0.1.0"

__all__ = ["Cohort", "__version__", "load", "save"]



def __getattr__(name: str) -> Any:
    # When asked for: they need the estimators and torch, which `import survimg` shall not load.
    if name in ("load", "save"):
        from survimg import saving

        return getattr(saving, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
