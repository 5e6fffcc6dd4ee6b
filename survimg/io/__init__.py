"""Readers and writers: images, masks, SUV, the manifest, and the prepared cohort's folder."""

from survimg.io.dicom_folder import manifest_of_dicom
from survimg.io.images import Image, read_image, read_mask, resample_like, write_image
from survimg.io.manifest import Manifest, read_manifest
from survimg.io.rtstruct import read_rtstruct
from survimg.io.store import StoreWriter, read_store, read_store_header
from survimg.io.suv import suv_factor

__all__ = [
    "Image",
    "Manifest",
    "StoreWriter",
    "manifest_of_dicom",
    "read_image",
    "read_manifest",
    "read_mask",
    "read_rtstruct",
    "read_store",
    "read_store_header",
    "resample_like",
    "suv_factor",
    "write_image",
]
