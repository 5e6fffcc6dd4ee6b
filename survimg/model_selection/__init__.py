"""Splitting cohorts for resampling: splitters, protocols, nested cross-validation."""

from survimg.model_selection.external import join_cohorts
from survimg.model_selection.known_groups import KnownGroups
from survimg.model_selection.nested import NestedCVResult, nested_cross_validate
from survimg.model_selection.out_of_fold_curves import cross_val_survival
from survimg.model_selection.permutation import permute_outcome
from survimg.model_selection.protocols import (
    Protocol,
    external_protocol,
    k_fold_protocol,
    leave_one_centre_out_protocol,
    nested_protocol,
    repeated_protocol,
)
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
    "KnownGroups",
    "LeaveOneCentreOut",
    "NestedCVResult",
    "Protocol",
    "RepeatedEventStratifiedGroupKFold",
    "RepeatedEventStratifiedKFold",
    "cross_val_survival",
    "external_protocol",
    "join_cohorts",
    "k_fold_protocol",
    "leave_one_centre_out_protocol",
    "nested_cross_validate",
    "nested_protocol",
    "permute_outcome",
    "repeated_protocol",
]
