"""Models by their names on the command line, and the tables of papers.

With `survimg.cli`, this is the only package that imports both models and the benchmark. A model is
a function from `ModelSettings` to an unfitted estimator, of times (`MODELS`) or of labels
(`LABEL_MODELS`); a `Suite` names the models of a table. To
add the tables of another paper, write a file with a tuple of suites, add it to `SUITES` below, and
add new models to `survimg.suites.model_names.MODELS`. Torch is not loaded before a network is
built.
"""

from collections.abc import Mapping

from survimg.suites.beyond import BEYOND_SUITES
from survimg.suites.deepmts_tables import DEEPMTS_SUITES
from survimg.suites.fusion import FUSION_SUITES
from survimg.suites.label_models import (
    DEFAULT_LABEL_MODELS,
    LABEL_MASK_READERS,
    LABEL_MODELS,
    LABEL_REFERENCE,
)
from survimg.suites.model_groups import LABEL_MODEL_GROUPS, MODEL_GROUPS
from survimg.suites.model_names import (
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
    "DEFAULT_LABEL_MODELS",
    "DEFAULT_MODELS",
    "LABEL_MASK_READERS",
    "LABEL_MODELS",
    "LABEL_MODEL_GROUPS",
    "LABEL_REFERENCE",
    "LABEL_SUITES",
    "MASK_READERS",
    "MODELS",
    "MODEL_GROUPS",
    "REFERENCE",
    "SUITES",
    "ModelSettings",
    "Suite",
    "build_models",
    "parameter_names",
]

#: Name on the command line to the table.
SUITES: Mapping[str, Suite] = {
    suite.name: suite for suite in (*DEEPMTS_SUITES, *MTDLR_SUITES, *BEYOND_SUITES)
}

#: The same for classifiers (`LABEL_MODELS`).
LABEL_SUITES: Mapping[str, Suite] = {suite.name: suite for suite in FUSION_SUITES}
