"""Table 4 of the MTDLR paper as models by name, and the eight scores of that table.

The suite compares the models that are estimators of their own. All eight scores, for a training
cohort and validation cohorts, come from `MtdlrModels`; `survimg.suites.mtdlr_tables` writes the
paper's tables and figures from them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from survimg.suites.settings import ModelSettings, make_network, share_work
from survimg.suites.suite import Suite

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from survimg.suites.mtdlr_tables import ScoredCohort

__all__ = ["MTDLR_MODELS", "MTDLR_SUITES", "MtdlrModels"]

CITATION = (
    "Gu B, Meng M, Xu M, et al. Multi-task deep learning-based radiomic nomogram for prognostic "
    "prediction in locoregionally advanced nasopharyngeal carcinoma. Eur J Nucl Med Mol Imaging "
    "2023."
)


def _reported(training: float, internal: float, external: float) -> dict[str, Any]:
    source = (
        f"Gu et al. 2023, Table 4: internal validation (training {training}, external {external})"
    )
    return {"c_index": None, "sd": None, "test_c_index": internal, "source": source}


def _clinical(settings: ModelSettings) -> Any:  # noqa: ARG001
    from survimg.estimators import ClinicalCox

    return ClinicalCox()


def _manual_radiomics(settings: ModelSettings, *, clinical: bool) -> Any:
    from survimg.estimators import ManualRadiomicsCox
    from survimg.radiomics import RadiomicsFeatures

    model = ManualRadiomicsCox(
        extractor=RadiomicsFeatures(),
        clinical_columns=settings.clinical_columns if clinical else [],
        cv=settings.inner_folds,
        random_state=0,
    )
    return share_work(model, settings)


def _single_task(settings: ModelSettings) -> Any:
    from survimg.estimators import SingleTaskCox, SingleTaskSurvival

    return SingleTaskCox(
        make_network(SingleTaskSurvival, settings, clinical_columns=[], random_state=0),
        clinical_columns=settings.clinical_columns,
        cv=settings.inner_folds,
        random_state=0,
    )


def _image_only(settings: ModelSettings, *, kind: str) -> Any:
    from survimg import estimators

    return make_network(getattr(estimators, kind), settings, clinical_columns=[])


def _mtdlr(settings: ModelSettings) -> Any:
    from survimg.estimators import MTDLR, DeepMTS
    from survimg.radiomics import RadiomicsFeatures

    model = MTDLR(
        make_network(DeepMTS, settings, clinical_columns=[], random_state=0),
        extractor=RadiomicsFeatures(on_empty_mask="nan"),
        clinical_columns=settings.clinical_columns,
        cv=settings.inner_folds,
        random_state=0,
    )
    return share_work(model, settings)


#: Name on the command line to the function that builds the unfitted estimator.
MTDLR_MODELS: Mapping[str, Callable[[ModelSettings], Any]] = {
    "clinical-cox": _clinical,
    "manual-radiomics": partial(_manual_radiomics, clinical=False),
    "manual-radiomics-clinical": partial(_manual_radiomics, clinical=True),
    "single-task-image": partial(_image_only, kind="SingleTaskSurvival"),
    "single-task-clinical": _single_task,
    "deepmts-image": partial(_image_only, kind="DeepMTS"),
    "mtdlr": _mtdlr,
}

_TABLE_4 = Suite(
    name="mtdlr",
    title="MTDLR against its parts and against radiomics of manual masks",
    models=(
        "clinical-cox",
        "manual-radiomics",
        "manual-radiomics-clinical",
        "single-task-image",
        "single-task-clinical",
        "deepmts-image",
        "mtdlr",
    ),
    reference="mtdlr",
    published={
        "clinical-cox": _reported(0.538, 0.526, 0.554),
        "manual-radiomics": _reported(0.720, 0.680, 0.642),
        "manual-radiomics-clinical": _reported(0.725, 0.693, 0.655),
        "single-task-image": _reported(0.767, 0.705, 0.655),
        "single-task-clinical": _reported(0.770, 0.708, 0.662),
        "deepmts-image": _reported(0.780, 0.731, 0.695),
        "mtdlr": _reported(0.818, 0.752, 0.717),
    },
    citation=CITATION,
)

MTDLR_SUITES = (_TABLE_4,)


@dataclass(frozen=True)
class MtdlrModels:
    """MTDLR and its comparators, fitted on the same training patients.

    Attributes
    ----------
    mtdlr : MTDLR
    manual_radiomics : ManualRadiomicsCox
    single_task : SingleTaskCox
    clinical : ClinicalCox
    """

    mtdlr: Any
    manual_radiomics: Any
    single_task: Any
    clinical: Any

    def fit(self, X: Any, y: np.ndarray) -> MtdlrModels:
        """Fit all four.

        Parameters
        ----------
        X : Cohort
        y : structured array of shape (n,)
        """
        for model in (self.clinical, self.manual_radiomics, self.single_task, self.mtdlr):
            model.fit(X, y)
        return self

    def training(self, name: str, X: Any, horizons: Sequence[float]) -> ScoredCohort:
        """Score the training patients by models that have not seen them, where these exist.

        Parameters
        ----------
        name : str
        X : Cohort
            The patients given to `fit`.
        horizons : sequence of float

        Returns
        -------
        ScoredCohort
            Out-of-fold scores, and the final Cox models' risks on them; the coefficients of those
            few covariates are in-sample.
        """
        parts = (self.manual_radiomics, self.single_task, self.mtdlr)
        return self._scored(
            name,
            X,
            [model.training_scores_ for model in parts],
            [model.training_risk_ for model in (self.clinical, *parts)],
            horizons,
        )

    def validation(self, name: str, X: Any, horizons: Sequence[float]) -> ScoredCohort:
        """Score patients that were not used in training.

        Parameters
        ----------
        name : str
        X : Cohort
        horizons : sequence of float

        Returns
        -------
        ScoredCohort
        """
        parts = (self.manual_radiomics, self.single_task, self.mtdlr)
        tables = [model.covariates(X) for model in parts]
        risks = [m.cox_.log_hazard_ratio(t) for m, t in zip(parts, tables, strict=True)]
        scores = [t[list(m.score_names)] for m, t in zip(parts, tables, strict=True)]
        return self._scored(name, X, scores, [self.clinical.predict(X), *risks], horizons)

    def _scored(
        self,
        name: str,
        X: Any,
        scores: Sequence[pd.DataFrame],
        risks: Sequence[np.ndarray],
        horizons: Sequence[float],
    ) -> ScoredCohort:
        import numpy as np
        import pandas as pd

        from survimg.suites.mtdlr_tables import SCORES, ScoredCohort

        manual, single, deep = scores
        columns = (
            risks[0],
            manual["ManualRadio-Score"],
            risks[1],
            single["SingleTask-Score"],
            risks[2],
            deep["DeepMTS-Score"],
            deep["AutoRadio-Score"],
            risks[3],
        )
        values = {s: np.asarray(c, dtype=np.float64) for s, c in zip(SCORES, columns, strict=True)}
        cox = self.mtdlr.cox_
        last = cox.event_times[-1]
        if not all(0 <= h <= last for h in horizons):
            raise ValueError(
                f"Horizons must lie between 0 and the last training event at {last:g}; got "
                f"{list(horizons)}."
            )
        hazard = np.array(
            [cox.cumulative_baseline_hazard[cox.event_times <= h].max(initial=0) for h in horizons]
        )
        survival = np.exp(-np.exp(risks[3])[:, np.newaxis] * hazard)
        at = dict(zip(horizons, survival.T, strict=True))
        return ScoredCohort(name, X.outcome, pd.DataFrame(values), X.clinical, at)
