"""Sphinx configuration."""

import os
import re
from importlib.metadata import version as installed_version
from pathlib import Path
from weakref import WeakSet

from docutils import nodes
from matplotlib.figure import Figure
from sphinx import addnodes
from sphinx_gallery.scrapers import figure_rst

# Before torch is loaded: the gallery runs beside other work.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

project = "survimg"
author = "The survimg developers"
project_copyright = author
release = installed_version("survimg")
version = release

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "images", "_templates", "sg_execution_times.rst"]
templates_path = ["_templates"]
nitpicky = False  # types in docstrings are words, not cross-references

autosummary_generate = True
autodoc_typehints = "none"  # numpydoc shows types and shapes from the docstrings
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
default_role = "py:obj"  # `Cohort` in a docstring becomes a link where there is such an object

myst_heading_anchors = 3

_drawn: WeakSet[Figure] = WeakSet()


def unmanaged_figures(_block, variables, gallery):
    """Find figures that were made without pyplot, as `survimg.explain.plot_saliency` makes them."""
    paths = []
    for value in list(variables["example_globals"].values()):
        if isinstance(value, Figure) and not hasattr(value, "number") and value not in _drawn:
            _drawn.add(value)
            paths.append(next(variables["image_path_iterator"]))
            value.savefig(paths[-1], dpi=100)
    return figure_rst(paths, gallery["src_dir"])


sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "backreferences_dir": "generated/examples",
    "doc_module": ("survimg",),
    "reference_url": {"survimg": None},
    "image_scrapers": ("matplotlib", unmanaged_figures),
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "plot_gallery": "True",
    "remove_config_comments": True,
    "show_memory": False,
    "min_reported_time": 1,
}

suppress_warnings = ["config.cache"]  # a function among the scrapers cannot be pickled
linkcheck_timeout = 20
linkcheck_retries = 2
linkcheck_anchors = False
linkcheck_ignore = [r"https://survimg\.readthedocs\.io.*"]  # not published yet

html_theme = "pydata_sphinx_theme"
html_title = "survimg"
html_show_sourcelink = False
html_context = {"default_mode": "auto"}
toc_object_entries_show_parents = "hide"
html_static_path = ["_static"]
html_css_files = ["survimg.css"]
html_js_files = ["survimg.js"]
html_theme_options = {
    "show_toc_level": 2,
    "show_prev_next": False,
    "navigation_with_keys": False,
    "header_links_before_dropdown": 6,
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars = {"index": [], "install": [], "quickstart": []}


def leave_out(_app, _what, _name, item, skip, _options):
    """Leave out what scikit-learn adds to every estimator, and ``Alias for field number 0``."""
    function = getattr(item, "fget", item)
    foreign = not (getattr(function, "__module__", None) or "survimg").startswith("survimg")
    return True if foreign or str(item.__doc__).startswith("Alias for field number") else skip


def public_names():
    """Read which objects the API reference lists: short name to full name."""
    found = {}
    for page in (Path(__file__).parent / "api").glob("*.rst"):
        module = ""
        for line in page.read_text("utf-8").splitlines():
            if line.startswith(".. currentmodule:: "):
                module = line.removeprefix(".. currentmodule:: ")
            elif module and re.fullmatch(r" {3}[A-Za-z][\w.]*", line):
                name = line.strip()
                found[name.rpartition(".")[2]] = f"{module}.{name}"
    return found


PUBLIC = public_names()


def link_public_names(_app, document):
    """Turn ``DeepMTS`` and ``prepare()`` in the pages of the guide into links."""
    if not str(document["source"]).endswith(".md"):
        return
    for literal in list(document.findall(nodes.literal)):
        full = PUBLIC.get(literal.astext().removesuffix("()"))
        if full is not None and not isinstance(literal.parent, nodes.reference | nodes.title):
            link = addnodes.pending_xref(
                "", literal.deepcopy(), refdomain="py", reftype="obj", reftarget=full,
                refexplicit=True, refwarn=True,
            )  # fmt: skip
            literal.replace_self(link)


def setup(app):
    app.connect("doctree-read", link_public_names)
    app.connect("autodoc-skip-member", leave_out)
