"""DICOM: series, folders, RTSTRUCT, segmentation objects, SUV."""
