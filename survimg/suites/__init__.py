"""Which models are compared: their names on the command line, and the tables of papers.

The only rooms, with `survimg.cli`, that know both the contestants and the judge. A model is a
function from `ModelSettings` to an unfitted estimator; a `Suite` names the models of a table. The
tables of another paper are one more file with a tuple of suites, entered in `SUITES` below, and, if
they need models of their own, in `survimg.suites.models.MODELS`. Nothing here loads torch before a
network is built.
"""

from collections.abc import Mapping

from survimg.suites.deepmts_tables import DEEPMTS_SUITES
from survimg.suites.models import (
    DEFAULT_MODELS,
    MASK_READERS,
    MODELS,
    REFERENCE,
    build_models,
    parameter_names,
)
from survimg.suites.mtdlr import MTDLR_SUITES
from survimg.suites.settings import ModelSettings
from survimg.suites.suite import Suite

__all__ = [
    "DEFAULT_MODELS",
    "MASK_READERS",
    "MODELS",
    "REFERENCE",
    "SUITES",
    "ModelSettings",
    "Suite",
    "build_models",
    "parameter_names",
]

#: Name on the command line to the table.
SUITES: Mapping[str, Suite] = {suite.name: suite for suite in (*DEEPMTS_SUITES, *MTDLR_SUITES)}
