"""The two engines behind one interface; each is imported when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from survimg.radiomics.case import CaseFeatures, RadiomicsCase
from survimg.radiomics.names import ExtractionSettings

__all__ = ["ENGINES", "Engine", "load_engine"]

ENGINES = ("native", "pyradiomics")


@dataclass(frozen=True)
class Engine:
    """A way to compute the features of one case.

    Parameters
    ----------
    version : str
        Part of every cache key.
    prefer : {"threads", "processes"}
        How joblib should run it over patients.
    extract : callable
    """

    version: str
    prefer: str
    extract: Callable[[RadiomicsCase, ExtractionSettings], CaseFeatures]


def load_engine(name: str) -> Engine:
    """Import an engine.

    Parameters
    ----------
    name : {"native", "pyradiomics"}

    Raises
    ------
    ImportError
        PyRadiomics is asked for and not installed.
    """
    if name == "pyradiomics":
        from survimg.radiomics import engine_pyradiomics

        return Engine(
            engine_pyradiomics.engine_version(), "processes", engine_pyradiomics.extract_case
        )
    from survimg.radiomics.native import engine as engine_native

    return Engine(engine_native.ENGINE_VERSION, "threads", engine_native.extract_case)
