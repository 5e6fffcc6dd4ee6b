"""The house stands as drawn: import contract, light imports, documents that tell the truth."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

ROOT = Path(__file__).parents[1]


def test_import_contract_is_kept(monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    assert lint_imports(cache_dir=str(tmp_path)) == EXIT_STATUS_SUCCESS


LIGHT = ["survimg", "survimg.evaluation", "survimg.report", "survimg.cli"]


@pytest.mark.parametrize("module", LIGHT)
def test_light_modules_load_no_heavy_library(module):
    code = (
        f"import sys, {module}\n"
        "heavy = {'torch', 'monai', 'radiomics', 'skorch'} & set(sys.modules)\n"
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


def test_readme_python_runs():
    """The README's Python blocks, with fewer patients and iterations, in one namespace."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    assert len(blocks) >= 2
    code = "\n".join(blocks)
    for shown, quick in {
        "n=60, shape=(32, 32, 32)": "n=24, shape=(16, 16, 16)",
        "n_iterations=400": "n_iterations=1, batch_size=4",
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
