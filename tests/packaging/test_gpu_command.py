"""The command for a GPU runs to its end without one, and leaves a record by card and versions."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

GPU = Path(__file__).parents[2] / "benchmarks" / "gpu.py"


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, GPU, *arguments]
    return subprocess.run([str(part) for part in line], capture_output=True, text=True, check=False)


def test_every_step_runs_on_the_processor_and_other_cards_stay_in_the_record(tmp_path):
    record = tmp_path / "gpu.json"
    record.write_text('{"another card": {}}')
    done = run("--device", "cpu", "--smoke", "--json", record)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(record.read_text())
    assert list(rows) == ["another card", f"cpu, torch {torch.__version__}"]
    steps = rows[f"cpu, torch {torch.__version__}"]
    assert {step["status"] for step in steps.values()} == {0}
    assert steps["training, 16"]["figures"]["times_as_fast"]["engine / plain"] > 0
    assert steps["bfloat16"]["figures"]["gradients"][0]["step"] == 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so(tmp_path):
    done = run("--json", tmp_path / "gpu.json")
    assert done.returncode == 2
    assert "finds no GPU here: --device cpu --smoke" in done.stderr
    assert not (tmp_path / "gpu.json").exists()
