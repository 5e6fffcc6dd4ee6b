"""Readers and writers: images, masks, SUV, the manifest, and the prepared cohort's folder."""

from survimg.io.dicom.folder import manifest_of_dicom
from survimg.io.dicom.rtstruct import read_rtstruct
from survimg.io.dicom.suv import suv_factor
from survimg.io.images.image import Image, resample_like, write_image
from survimg.io.images.masks import read_mask
from survimg.io.images.reading import read_image
from survimg.io.manifest import Manifest, read_manifest
from survimg.io.patients import PatientTable
from survimg.io.store.store import StoreWriter, read_store, read_store_header

__all__ = [
    "Image",
    "Manifest",
    "PatientTable",
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
