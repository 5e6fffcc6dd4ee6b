"""The house stands as drawn: import contract, light imports, documents that tell the truth."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_import_contract_is_kept(tmp_path):
    # in a process of its own: import-linter disables the loggers of the one that it runs in
    lint = f"lint_imports(cache_dir={str(tmp_path)!r})"
    code = f"import sys; from importlinter.cli import lint_imports; sys.exit({lint})"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


BY_STRING = re.compile(r"\bimport_module\(|(?<![\w.])(__import__|exec|eval)\(")
#: Files of the library by module name.
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in (ROOT / "survimg").rglob("*.py")
}


def _imported(module):
    """Modules of survimg that a file imports, wherever in it: for types only, in a function too."""
    for node in ast.walk(ast.parse(FILES[module].read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in FILES)
        elif isinstance(node, ast.ImportFrom):
            parts = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (p if p in FILES else node.module for p in parts if node.module in FILES)


def test_no_file_imports_another_in_a_circle():
    graph = {module: {*_imported(module)} - {module} for module in FILES}
    assert sum(map(len, graph.values())) > 500
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_nothing_is_imported_by_a_string_but_what_a_user_named():
    by_string = {
        module
        for module, path in FILES.items()
        if BY_STRING.search(path.read_text("utf-8"))
    }
    assert by_string == {"survimg.suites.model_names"}  # --models module:callable


def test_estimators_reach_one_module_of_evaluation():
    reached = {
        name
        for module in FILES
        if module.startswith("survimg.estimators")
        for name in _imported(module)
        if name.startswith("survimg.evaluation")
    }
    assert reached == {"survimg.evaluation.concordance"}


LIGHT = ["survimg", "survimg.evaluation", "survimg.report", "survimg.cli"]


@pytest.mark.parametrize("module", LIGHT)
def test_light_modules_load_no_heavy_library(module):
    code = (
        f"import sys, {module}\n"
        "heavy = {'torch', 'monai', 'radiomics', 'skorch', 'numba', 'SimpleITK'}\n"
        "heavy &= set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


def test_files_named_in_the_documents_exist():
    for document in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text("utf-8")):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


@pytest.mark.any_precision
def test_readme_python_runs():
    """The README's Python blocks, with fewer patients and iterations, in one namespace."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    assert len(blocks) >= 2
    code = "\n".join(blocks)
    for shown, quick in {
        "n=60, shape=(36, 36, 36)": "n=24, shape=(16, 16, 16)",
        "DeepMTS()": "DeepMTS(n_iterations=1, batch_size=4, precision='float32')",
        "EventStratifiedKFold(3)": "EventStratifiedKFold(2)",
    }.items():
        assert shown in code
        code = code.replace(shown, quick)
    exec(compile(code, "README.md", "exec"), {})


def test_no_source_file_is_longer_than_a_reader_can_hold():
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text("utf-8").splitlines())
        for path in (ROOT / "survimg").rglob("*.py")
    }
    assert max(lengths.values()) <= 470, sorted(lengths.items(), key=lambda item: -item[1])[:3]
