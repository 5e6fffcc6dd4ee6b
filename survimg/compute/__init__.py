"""Where fits run: devices and their slots, threads, memory, several devices, clusters."""

from survimg.compute.cluster import DaskBackend, dask_cluster
from survimg.compute.device_slots import DeviceSlot, device_slot, slots_per_device
from survimg.compute.several_devices import fit_on_devices

__all__ = [
    "DaskBackend",
    "DeviceSlot",
    "dask_cluster",
    "device_slot",
    "fit_on_devices",
    "slots_per_device",
]
