"""Filters that make the image types of PyRadiomics, in the box around a region."""
