"""scikit-learn compatible survival estimators over medical image volumes.

`Cohort` holds the patients; estimators are in `survimg.estimators`, feature extraction in
`survimg.radiomics`, splitters in `survimg.model_selection`, statistics in `survimg.evaluation`.
`survimg.save` and `survimg.load` keep fitted estimators in folders that hold no code.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from survimg.cohort import Cohort
    from survimg.saving import load, save

__version__ = "0.1.0"

__all__ = ["Cohort", "__version__", "load", "save"]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    # When asked for: pandas and scipy would make `survimg --help` wait for seconds, and
    # the files of models load torch.
    if name == "Cohort":
        from survimg.cohort import Cohort

        return Cohort
    if name in ("load", "save"):
        from survimg import saving

        return getattr(saving, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
