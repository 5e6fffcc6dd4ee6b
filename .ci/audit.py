"""Look the pinned dependencies up in the advisory database of PyPI, through pip-audit.

Both ends are looked up: constraints.txt and constraints-lowest.txt, the lowest versions that
pyproject.toml allows. Ends with status 1 if a known vulnerability is found, and, in CI (``CI`` is
set), if nothing could be looked up: an audit that looks nothing up must not pass for one. On a
machine without a way to the database it says "not audited" and passes; a CI without one says so
with ``SURVIMG_AUDIT=optional``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
FILES = ("constraints.txt", "constraints-lowest.txt")


def look_up(path: Path) -> tuple[list[dict[str, Any]], str]:
    """Return what pip-audit says of each package, and its complaint where it says nothing."""
    command = [sys.executable, "-m", "pip_audit", "--format", "json", "--progress-spinner", "off"]
    command += ["--disable-pip", "--no-deps", "--requirement", str(path)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        return json.loads(answer.stdout)["dependencies"], ""
    except (json.JSONDecodeError, KeyError, TypeError):
        return [], answer.stderr.strip()[-300:] or f"status {answer.returncode}"


def main() -> int:
    """Audit, print what was found, return the exit status."""
    required = bool(os.environ.get("CI")) and os.environ.get("SURVIMG_AUDIT") != "optional"
    wrong = False
    for name in FILES:
        packages, complaint = look_up(ROOT / name)
        known = [package for package in packages if "skip_reason" not in package]
        flaws = [
            f"{package['name']} {package['version']}: {flaw['id']}, fixed in "
            f"{', '.join(flaw['fix_versions']) or 'no version yet'}"
            for package in known
            for flaw in package.get("vulns", [])
        ]
        sys.stdout.write("".join(f"audit: {name}: {line}\n" for line in flaws))
        if known:
            sys.stdout.write(
                f"audit: {name}: {len(known)} of {len(packages)} packages looked up, "
                f"{len(flaws)} known vulnerabilities\n"
            )
        else:
            reason = complaint or f"none of {len(packages)} packages could be looked up"
            sys.stdout.write(f"audit: {name}: NOT AUDITED ({reason})\n")
        wrong |= bool(flaws) or (required and not known)
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
