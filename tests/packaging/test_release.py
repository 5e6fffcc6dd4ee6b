"""The audit does not pass for one that was not made; sums are those that sha256sum checks."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import subprocess
from pathlib import Path

import pytest

CI = Path(__file__).parents[2] / ".ci"
LOOKED_UP = [{"name": "a", "version": "1", "vulns": []}]
SKIPPED = [{"name": "a", "skip_reason": "no answer"}]
FLAW = {"id": "CVE-1", "fix_versions": ["2"]}
FLAWED = [{"name": "a", "version": "1", "vulns": [FLAW]}]


def module(name):
    spec = importlib.util.spec_from_file_location(name, CI / f"{name}.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.mark.parametrize(
    ("answers", "environment", "status", "words"),
    [
        ([LOOKED_UP, LOOKED_UP], {"CI": "true"}, 0, "1 of 1 packages looked up"),
        ([SKIPPED, SKIPPED], {"CI": "true"}, 1, "NOT AUDITED"),
        ([LOOKED_UP, SKIPPED], {"CI": "true"}, 1, "constraints-lowest.txt: NOT AUDITED"),
        ([None, None], {"CI": "true"}, 1, "NOT AUDITED (no way)"),
        ([SKIPPED, SKIPPED], {}, 0, "NOT AUDITED"),
        ([None, None], {}, 0, "NOT AUDITED (no way)"),
        ([None, None], {"CI": "true", "SURVIMG_AUDIT": "optional"}, 0, "NOT AUDITED"),
        ([LOOKED_UP, FLAWED], {}, 1, "a 1: CVE-1, fixed in 2"),
        ([FLAWED, None], {"CI": "true", "SURVIMG_AUDIT": "optional"}, 1, "CVE-1"),
    ],
)
def test_an_audit_that_looks_nothing_up_fails_in_ci(
    monkeypatch, capsys, answers, environment, status, words
):
    audit = module("audit")
    waiting = iter(answers)

    def answered(command, **options):
        packages = next(waiting)
        out = "" if packages is None else json.dumps({"dependencies": packages})
        return subprocess.CompletedProcess(command, 1, out, "no way")

    monkeypatch.setattr(audit.subprocess, "run", answered)
    for name in ("CI", "SURVIMG_AUDIT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert audit.main() == status
    assert words in capsys.readouterr().out


def test_sums_are_those_of_the_files(tmp_path):
    (tmp_path / "b.whl").write_bytes(b"wheel")
    (tmp_path / "a.tar.gz").write_bytes(b"sdist")
    (tmp_path / "SHA256SUMS").write_text("of before")
    lines = module("release").sums(tmp_path).splitlines()
    assert lines == [
        f"{hashlib.sha256(content).hexdigest()}  {name}"
        for name, content in (("a.tar.gz", b"sdist"), ("b.whl", b"wheel"))
    ]
