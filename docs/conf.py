"""Sphinx configuration."""

from importlib.metadata import version as installed_version

project = "survimg"
author = "The survimg developers"
release = installed_version("survimg")
version = release

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "myst_parser",
]
autosummary_generate = True
autodoc_typehints = "none"  # numpydoc shows types and shapes from the docstrings
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
exclude_patterns = ["_build", "images"]
html_theme = "pydata_sphinx_theme"
html_title = "survimg"
nitpicky = False
