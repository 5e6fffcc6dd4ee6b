"""What a release consists of, into dist/: sdist and wheel, bill of materials, SHA-256 sums.

    make release

The bill of materials (CycloneDX) lists the packages that the tests ran with, with versions and
licences; the sums are in the format of sha256sum, which checks them: ``sha256sum -c SHA256SUMS``.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
TOOL = ROOT / ".venv-release"
CYCLONEDX = "cyclonedx-bom==7.5.0"


def bill_of_materials(target: Path) -> None:
    """Write the packages of this environment; the tool has an environment of its own."""
    if not (TOOL / "bin" / "cyclonedx-py").exists():
        venv.create(TOOL, with_pip=True, clear=True)
        install = [TOOL / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, CYCLONEDX], check=True)
    command = [TOOL / "bin" / "cyclonedx-py", "environment", "--pyproject", "pyproject.toml"]
    command += ["--output-reproducible", "--output-format", "JSON", "--output-file", target]
    subprocess.run([*command, sys.executable], check=True, cwd=ROOT)


def sums(folder: Path) -> str:
    """Return one line per file: its SHA-256 and its name."""
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
        for path in sorted(folder.iterdir())
        if path.name != "SHA256SUMS"
    ]
    return "".join(lines)


def main() -> int:
    """Build, list, sum up."""
    shutil.rmtree(DIST, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "build", "--outdir", DIST, ROOT], check=True)
    bill_of_materials(DIST / "survimg.cdx.json")
    text = sums(DIST)
    (DIST / "SHA256SUMS").write_text(text, encoding="utf-8")
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
