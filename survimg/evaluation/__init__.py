"""Survival statistics on arrays: discrimination, calibration, risk groups, tables, tests.

Risk is higher for an earlier event throughout; outcomes are the structured arrays of
``survimg.target``. Quantities that are undefined raise a ValueError that says why.
``survimg.evaluation.plots`` draws with matplotlib and is imported on its own.
"""

from typing import TYPE_CHECKING, Any

from survimg.evaluation.bootstrap import bootstrap_interval
from survimg.evaluation.brier import (
    brier_score,
    index_of_prediction_accuracy,
    integrated_brier_score,
)
from survimg.evaluation.calibration import (
    CalibrationGroups,
    ChiSquareTest,
    SmoothCalibration,
    calibration_groups,
    d_calibration,
    greenwood_nam_dagostino_test,
    integrated_calibration_index,
)
from survimg.evaluation.concordance import (
    ConcordanceCounts,
    compare_concordance,
    concordance_counts,
    concordance_index,
)
from survimg.evaluation.cox_regression import CoxFit, fit_cox, hazard_ratio
from survimg.evaluation.decision_curve import DecisionCurve, decision_curve
from survimg.evaluation.estimates import Comparison, Estimate
from survimg.evaluation.horizon import (
    HorizonClassification,
    classification_at_horizon,
    horizon_weights,
    status_weights,
)
from survimg.evaluation.kaplan_meier import CensoringDistribution, KaplanMeier, kaplan_meier
from survimg.evaluation.optimism import OptimismCorrection, optimism_corrected_concordance
from survimg.evaluation.resampled_tests import corrected_resampled_t_test
from survimg.evaluation.risk_groups import (
    Cutoff,
    LogRankResult,
    learn_cutoff,
    logrank_test,
    maximally_selected_logrank,
)
from survimg.evaluation.roc import RocCurve, compare_status_auc, status_auc, status_roc_curve
from survimg.evaluation.scorers import (
    ClippedHorizonWarning,
    MultiSurvivalScorer,
    SurvivalScorer,
    UndefinedScoreWarning,
    survival_scorer,
    survival_scorers,
)
from survimg.evaluation.segmentation import (
    aggregated_dice,
    dice,
    hausdorff_distance_95,
    volume_difference,
)
from survimg.evaluation.time_dependent_auc import (
    TimeDependentAuc,
    cumulative_dynamic_auc,
    roc_curve_at_horizon,
)
from survimg.evaluation.uno import antolini_concordance, uno_concordance

if TYPE_CHECKING:
    from survimg.evaluation.cohort_table import compare_cohorts
    from survimg.evaluation.cox_tables import (
        cox_table,
        multivariate_cox_table,
        univariate_cox_table,
    )
    from survimg.evaluation.nomogram import Axis, Nomogram
    from survimg.evaluation.proportional_hazards import proportional_hazards_test

__all__ = [
    "Axis",
    "CalibrationGroups",
    "CensoringDistribution",
    "ChiSquareTest",
    "ClippedHorizonWarning",
    "Comparison",
    "ConcordanceCounts",
    "CoxFit",
    "Cutoff",
    "DecisionCurve",
    "Estimate",
    "HorizonClassification",
    "KaplanMeier",
    "LogRankResult",
    "MultiSurvivalScorer",
    "Nomogram",
    "OptimismCorrection",
    "RocCurve",
    "SmoothCalibration",
    "SurvivalScorer",
    "TimeDependentAuc",
    "UndefinedScoreWarning",
    "aggregated_dice",
    "antolini_concordance",
    "bootstrap_interval",
    "brier_score",
    "calibration_groups",
    "classification_at_horizon",
    "compare_cohorts",
    "compare_concordance",
    "compare_status_auc",
    "concordance_counts",
    "concordance_index",
    "corrected_resampled_t_test",
    "cox_table",
    "cumulative_dynamic_auc",
    "d_calibration",
    "decision_curve",
    "dice",
    "fit_cox",
    "greenwood_nam_dagostino_test",
    "hausdorff_distance_95",
    "hazard_ratio",
    "horizon_weights",
    "index_of_prediction_accuracy",
    "integrated_brier_score",
    "integrated_calibration_index",
    "kaplan_meier",
    "learn_cutoff",
    "logrank_test",
    "maximally_selected_logrank",
    "multivariate_cox_table",
    "optimism_corrected_concordance",
    "proportional_hazards_test",
    "roc_curve_at_horizon",
    "status_auc",
    "status_roc_curve",
    "status_weights",
    "survival_scorer",
    "survival_scorers",
    "univariate_cox_table",
    "uno_concordance",
    "volume_difference",
]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    # When asked for: pandas, in which these tables are, takes longer to load than a run to be read.
    if name == "compare_cohorts":
        from survimg.evaluation.cohort_table import compare_cohorts

        return compare_cohorts
    if name in ("cox_table", "multivariate_cox_table", "univariate_cox_table"):
        from survimg.evaluation import cox_tables

        return getattr(cox_tables, name)
    if name in ("Axis", "Nomogram"):
        from survimg.evaluation import nomogram

        return getattr(nomogram, name)
    if name == "proportional_hazards_test":
        from survimg.evaluation.proportional_hazards import proportional_hazards_test

        return proportional_hazards_test
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
