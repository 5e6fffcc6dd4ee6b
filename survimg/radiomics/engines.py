"""The two engines behind one interface; each is imported when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from survimg.radiomics.case import CaseFeatures, RadiomicsCase
from survimg.radiomics.ibsi.settings import IBSISettings

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
    extract: Callable[[RadiomicsCase, Any], CaseFeatures]


def load_engine(name: str, standard: str | IBSISettings = "pyradiomics") -> Engine:
    """Import an engine.

    Parameters
    ----------
    name : {"native", "pyradiomics", "parameters"}
        The last is the native engine told by a parameter file of PyRadiomics.
    standard : {"pyradiomics", "ibsi"} or IBSISettings, default="pyradiomics"
        Whose definitions it has.

    Raises
    ------
    ValueError
        PyRadiomics is asked for IBSI's definitions.
    ImportError
        PyRadiomics is asked for and not installed.
    """
    if standard != "pyradiomics":
        if name != "native":
            raise ValueError(
                f"engine={name!r} has PyRadiomics' definitions; IBSI's standard needs "
                "engine='native'."
            )
        from survimg.radiomics.ibsi import engine as engine_ibsi

        return Engine(engine_ibsi.ENGINE_VERSION, "threads", engine_ibsi.extract_case)
    if name == "pyradiomics":
        from survimg.radiomics import engine_pyradiomics

        return Engine(
            engine_pyradiomics.engine_version(), "processes", engine_pyradiomics.extract_case
        )
    if name == "parameters":
        from survimg.radiomics import engine_parameters

        return Engine(engine_parameters.ENGINE_VERSION, "threads", engine_parameters.extract_case)
    from survimg.radiomics.native import engine as engine_native

    return Engine(engine_native.ENGINE_VERSION, "threads", engine_native.extract_case)
