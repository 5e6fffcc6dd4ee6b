"""Splitting cohorts for resampling: event-stratified, group-aware, centre by centre."""

from survimg.model_selection.nested import NestedCVResult, nested_cross_validate
from survimg.model_selection.splitters import (
    EventStratifiedGroupKFold,
    EventStratifiedKFold,
    LeaveOneCentreOut,
    RepeatedEventStratifiedGroupKFold,
    RepeatedEventStratifiedKFold,
)

__all__ = [
    "EventStratifiedGroupKFold",
    "EventStratifiedKFold",
    "LeaveOneCentreOut",
    "NestedCVResult",
    "RepeatedEventStratifiedGroupKFold",
    "RepeatedEventStratifiedKFold",
    "nested_cross_validate",
]
