"""Splitting cohorts for resampling; fits side by side: slots of devices, clusters of machines."""

from survimg.model_selection.cluster import DaskBackend, dask_cluster
from survimg.model_selection.device_slots import DeviceSlot, device_slot, slots_per_device
from survimg.model_selection.external import join_cohorts
from survimg.model_selection.known_groups import KnownGroups
from survimg.model_selection.nested import NestedCVResult, nested_cross_validate
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
    "DaskBackend",
    "DeviceSlot",
    "EventStratifiedGroupKFold",
    "EventStratifiedKFold",
    "KnownGroups",
    "LeaveOneCentreOut",
    "NestedCVResult",
    "Protocol",
    "RepeatedEventStratifiedGroupKFold",
    "RepeatedEventStratifiedKFold",
    "dask_cluster",
    "device_slot",
    "external_protocol",
    "join_cohorts",
    "k_fold_protocol",
    "leave_one_centre_out_protocol",
    "nested_cross_validate",
    "nested_protocol",
    "permute_outcome",
    "repeated_protocol",
    "slots_per_device",
]
