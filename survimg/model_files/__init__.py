"""Fitted estimators as folders of plain data: saving them, and loading them without running code.

A model file is a folder with

``manifest.json``
    Format and its version, the versions of the libraries, what the model was trained on, the
    classes in it, and size and SHA-256 of every other file.
``model.json``
    The estimator: parameters and fitted attributes as a table of objects.
``arrays.npz``
    Arrays (numbers, text; never Python objects).
``weights.safetensors``
    Weights of networks.

Nothing in it is code, and nothing in it is the name of something to import: a class is found in the
closed list (`survimg.model_files.classes`, `survimg.estimators.saved_classes`), or not at all.
`survimg.save` and `survimg.load` are the way to use this package.
"""

from survimg.model_files.errors import ModelFileError
from survimg.model_files.folder import VERSION
from survimg.model_files.models import read_manifest

__all__ = ["VERSION", "ModelFileError", "read_manifest"]
