"""The documents tell the truth: their code runs, their commands parse, their paths exist."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import re
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch

import survimg
from survimg.cli.parser import make_parser

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path
    for path in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md"))
    if not {"_build", "auto_examples", "generated"} & set(path.parts)
)
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
#: Modules without a place in the API reference: reached by another road, or the floor of the house.
OTHER_ROADS = {
    "survimg.cli", "survimg.__main__", "survimg.files", "survimg.npz",
}  # fmt: skip


def blocks(path, language):
    found = re.findall(rf"```{language}\n(.*?)```", path.read_text("utf-8"), re.DOTALL)
    return [block.replace("(...)", "()") for block in found]


def python_of(path):
    return path.read_text("utf-8") if path.suffix == ".py" else "\n".join(blocks(path, "python"))


# ------------------------------------------------------------------ names and keywords


def imported(tree):
    """Objects of survimg by the name under which a document imports them."""
    found = {"survimg": survimg}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] == "survimg":
            module = importlib.import_module(node.module)
            for alias in node.names:
                found[alias.asname or alias.name] = getattr(module, alias.name)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "survimg":
                    importlib.import_module(alias.name)
    return found


def resolved(node, names):
    """The object that an expression such as ``Cohort.load`` names; None if it is not survimg's."""
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute):
        owner = resolved(node.value, names)
        return None if owner is None else getattr(owner, node.attr)
    return None


def wrong_keywords(source):
    tree = ast.parse(source)
    names = imported(tree)
    wrong = []
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        function = resolved(call.func, names)
        if function is None:
            continue
        known = inspect.signature(function).parameters
        if any(p.kind is p.VAR_KEYWORD for p in known.values()):
            continue
        given = [keyword.arg for keyword in call.keywords if keyword.arg is not None]
        wrong += [f"{ast.unparse(call.func)}({name}=)" for name in given if name not in known]
    return wrong


@pytest.mark.parametrize("path", [*PAGES, *EXAMPLES], ids=lambda path: path.name)
def test_names_and_keywords_exist(path):
    assert wrong_keywords(python_of(path)) == []


def test_a_wrong_name_or_keyword_is_found():
    source = "from survimg import Cohort\nCohort.load('x', mode='r')\nlist(key=1)"
    assert wrong_keywords(source) == ["Cohort.load(mode=)"]
    with pytest.raises(AttributeError, match="Kohort"):
        wrong_keywords("from survimg import Kohort")


# ------------------------------------------------------------------ code that runs

#: Pages whose Python blocks run as they stand, but for these replacements.
RUN = {
    "quickstart": {"n_iterations=20,": "n_iterations=1, batch_size=4,", "60": "32", "40": "24"},
    "own_data": {},
    "models": {},
    "own_network": {},
    "from_monai": {},
    "from_scikit_survival": {},
    "from_lifelines": {},
    "pretrained": {},
    "radiomics": {},
    "which_standard": {},
    "evaluation": {},
}


class PlacedImage:
    """The properties of an image of TorchIO that a cohort reads."""

    def __init__(self, path):
        image = nibabel.load(path)
        self.data = torch.from_numpy(image.get_fdata(dtype=np.float32)[np.newaxis])
        self.spatial_shape, self.affine = image.shape, image.affine


def torchio_stand_in():
    """A module with the four names of TorchIO that the page uses."""
    return SimpleNamespace(
        ScalarImage=type("ScalarImage", (PlacedImage,), {"type": "intensity"}),
        LabelMap=type("LabelMap", (PlacedImage,), {"type": "label"}),
        Subject=dict,
        SubjectsDataset=list,
    )


@pytest.mark.any_precision
@pytest.mark.filterwarnings("ignore:LassoCox selected none")  # of so few patients
@pytest.mark.parametrize("page", RUN)
def test_a_page_runs(page, tmp_path, monkeypatch):
    from survimg.datasets import make_phantom_cohort, write_phantom_manifest

    monkeypatch.chdir(tmp_path)
    names = {}
    if page == "own_data":
        if importlib.util.find_spec("torchio") is None:  # no dependency: what the page uses of it
            monkeypatch.setitem(sys.modules, "torchio", torchio_stand_in())
        write_phantom_manifest(tmp_path, n=6, shape=(16, 16, 16), random_state=0)
    elif page != "quickstart":
        n = 60 if page == "evaluation" else 30
        phantom = make_phantom_cohort(n=n, shape=(16, 16, 16), n_centres=2, random_state=0)
        names["X"] = phantom.cohort
    code = python_of(ROOT / "docs" / f"{page}.md")
    for shown, quick in RUN[page].items():
        assert shown in code
        code = code.replace(shown, quick)
    exec(compile(code, f"{page}.md", "exec"), names)


def run_page(text):
    """Run the Python and the commands of a page in their order; return how many commands."""
    from survimg.cli import main

    names, n_commands = {}, 0
    for language, block in re.findall(r"```(python|sh)\n(.*?)```", text, re.DOTALL):
        if language == "python":
            exec(compile(block, "page.md", "exec"), names)
            continue
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line)
            if words[:2] == ["python", "-c"]:
                exec(words[2], {})
            else:
                assert main(words[1:]) == 0, line
            n_commands += 1
    return n_commands


@pytest.mark.filterwarnings("ignore:LassoCox selected none")
def test_the_page_for_users_of_pyradiomics_runs(tmp_path, monkeypatch):
    from survimg.datasets import make_phantom_cohort
    monkeypatch.chdir(tmp_path)
    case = make_phantom_cohort(n=1, shape=(16, 16, 16), random_state=0).cohort
    for name, voxels in {"image": case.volume(0)[1], "mask": case.mask(0)}.items():
        sitk.WriteImage(sitk.GetImageFromArray(voxels), str(tmp_path / f"{name}.nrrd"))
    (tmp_path / "cases.csv").write_text("Image,Mask\nimage.nrrd,mask.nrrd\n")
    (tmp_path / "Params.yaml").write_text("featureClass: {firstorder: [Mean, Energy]}\n")
    text = (ROOT / "docs" / "from_pyradiomics.md").read_text("utf-8")
    assert run_page(text.replace("n_jobs=2", "n_jobs=1").replace("--n-jobs 2", "")) == 2
    assert "original_firstorder_Mean" in (tmp_path / "features.csv").read_text()
    assert (tmp_path / "maps" / "original_firstorder_Energy.nii.gz").is_file()
    assert (tmp_path / "case-maps" / "1_image" / "original_firstorder_Mean.nii.gz").is_file()


@pytest.mark.filterwarnings("ignore:LassoCox selected none")
def test_the_road_without_python_leads_from_phantoms_to_predictions(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "prediction.md").read_text("utf-8")
    road = text[text.index("**Without data of your own**") : text.index("Then open")]
    assert run_page(road) == 6
    assert (tmp_path / "runs/compare/report.html").is_file()
    predictions = (tmp_path / "predictions" / "predictions.csv").read_text().splitlines()
    assert len(predictions) == 41


@pytest.mark.filterwarnings("ignore:LassoCox selected none")
def test_the_study_runs_from_the_archives_folder_to_predictions(tmp_path, monkeypatch, capsys):
    """Python and commands in the order of the page, on a folder in HECKTOR's layout."""
    from hecktor_folder import write_hecktor

    monkeypatch.chdir(tmp_path)
    write_hecktor(tmp_path / "hecktor2022_training", n=36)
    quick = {
        "(48, 48, 48), spacing=4": "(16, 16, 16), spacing=4",
        "--models radiomics-lasso-cox,": "--models ",  # 1456 features of each patient
        "--folds 5": "--folds 3",
    }
    text = (ROOT / "docs" / "study.md").read_text("utf-8")
    for shown, instead in quick.items():
        assert shown in text
        text = text.replace(shown, instead)
    assert run_page(text) == 9
    printed = capsys.readouterr().out
    assert "We analysed 36 patients" in printed
    assert "TRIPOD+AI" in printed
    assert "clinical-volume-cox" in (tmp_path / "runs/hecktor/report.html").read_text("utf-8")
    assert "Sub-groups by hpv" in (tmp_path / "runs/hecktor/report.html").read_text("utf-8")
    predictions = (tmp_path / "predictions" / "predictions.csv").read_text().splitlines()
    assert len(predictions) == 37
    assert predictions[0].startswith("patient_id,risk,survival_365")


def messages():
    """Texts in the source of the library, as they stand between the values of an f-string."""
    for path in (ROOT / "survimg").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def test_messages_of_the_troubleshooting_page_exist():
    text = (ROOT / "docs" / "troubleshooting.md").read_text("utf-8")
    quoted = re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)
    assert len(quoted) > 10
    every = set(messages())
    assert [part for part in quoted if not any(part in message for message in every)] == []


# ------------------------------------------------------------------ commands


def commands(path):
    for block in blocks(path, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            words = [w for w in words if not re.fullmatch(r"[A-Z_]+=\S+", w)]  # environment
            if words[:1] == ["survimg"] and "..." not in words:
                yield words[1:]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_commands_parse(path):
    for words in commands(path):
        try:
            make_parser().parse_args(words)
        except SystemExit as stop:
            assert not stop.code, f"survimg {shlex.join(words)}"  # noqa: PT017


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_options_named_in_the_text_exist(path):
    text = re.sub(r"```.*?```", "", path.read_text("utf-8"), flags=re.DOTALL)
    known = next(a.choices for a in make_parser()._actions if a.dest == "command")
    for command, rest in re.findall(r"`survimg ([a-z]+)([^`]*)`", text):
        options = re.findall(r"--[a-z-]+", rest)
        wrong = [name for name in options if name not in known[command]._option_string_actions]
        assert wrong == [], f"survimg {command}"


def test_commands_are_found():
    assert sum(1 for path in PAGES for _ in commands(path)) > 10


# ------------------------------------------------------------------ paths

NAMED = re.compile(r"(?<![\w./-])((?:docs|examples|benchmarks|tests|survimg|\.ci)/[\w./-]*\w)")


@pytest.mark.parametrize("path", [*PAGES, ROOT / "CHANGELOG.md"], ids=lambda path: path.name)
def test_paths_of_the_repository_exist(path):
    text = re.sub(r"https?://\S+", "", path.read_text("utf-8"))
    missing = sorted({name for name in NAMED.findall(text) if not (ROOT / name).exists()})
    assert missing == []


# ------------------------------------------------------------------ examples, API, citation


def test_examples_are_short_and_few():
    assert 0 < len(EXAMPLES) <= 10
    for path in EXAMPLES:
        assert path.name.startswith("plot_"), f"{path.name} would not be executed"
        assert len(path.read_text("utf-8").splitlines()) <= 80, path.name


def api_entries():
    """Full names in the tables of docs/api."""
    found = []
    for page in sorted((ROOT / "docs" / "api").glob("*.rst")):
        module, inside = "", False
        for line in page.read_text("utf-8").splitlines():
            if line.startswith(".. currentmodule:: "):
                module = line.removeprefix(".. currentmodule:: ")
            if line.startswith(".. "):
                inside = line.startswith(".. autosummary::")
            elif inside and re.fullmatch(r" +[\w.]+", line):
                found.append(f"{module}.{line.strip()}")
    return found


def public_names():
    """What the packages of survimg offer: classes and functions in their ``__all__``."""
    for path in sorted((ROOT / "survimg").iterdir()):
        name = f"survimg.{path.stem}"
        if path.name.startswith("_") or name in OTHER_ROADS or path.suffix not in ("", ".py"):
            continue
        module = importlib.import_module(name)
        for entry in getattr(module, "__all__", ()):
            if callable(getattr(module, entry)):
                yield getattr(module, entry)
    yield survimg.Cohort


def test_the_api_reference_is_complete():
    listed = api_entries()
    assert len(listed) == len(set(listed))
    objects = []
    for entry in listed:
        module, _, name = entry.rpartition(".")
        objects.append(getattr(importlib.import_module(module), name))
    missing = sorted({f"{o.__module__}.{o.__name__}" for o in public_names() if o not in objects})
    assert missing == []


def test_one_version_everywhere():
    citation = (ROOT / "CITATION.cff").read_text("utf-8")
    changes = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert re.search(r"^## ([\d.]+)", changes, re.MULTILINE)[1] == survimg.__version__
    assert re.search(r"^version: (.+)$", citation, re.MULTILINE)[1] == survimg.__version__
    assert f"version = {{{survimg.__version__}}}" in (ROOT / "docs/citing.md").read_text("utf-8")
