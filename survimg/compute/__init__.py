"""Where fits run: devices and their slots, threads, memory, clusters."""

from survimg.compute.cluster import DaskBackend, dask_cluster
from survimg.compute.device_slots import DeviceSlot, device_slot, slots_per_device

__all__ = [
    "DaskBackend",
    "DeviceSlot",
    "dask_cluster",
    "device_slot",
    "slots_per_device",
]
