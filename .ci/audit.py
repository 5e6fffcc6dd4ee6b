"""Look the pinned dependencies up in the advisory database of PyPI, through pip-audit.

Ends with status 1 if a known vulnerability is found. A machine without a way to the database is
told how many packages were not looked up, and passes: what cannot be known is no reason to stop.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"


def main() -> int:
    """Audit, print what was found, return the exit status."""
    command = [sys.executable, "-m", "pip_audit", "--format", "json", "--progress-spinner", "off"]
    command += ["--disable-pip", "--no-deps", "--requirement", str(CONSTRAINTS)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        packages = json.loads(answer.stdout)["dependencies"]
    except (json.JSONDecodeError, KeyError):
        sys.stdout.write(f"audit: NOT DONE, pip-audit says: {answer.stderr.strip()[-300:]}\n")
        return 0
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    found = [
        f"{package['name']} {package['version']}: {flaw['id']}, fixed in "
        f"{', '.join(flaw['fix_versions']) or 'no version yet'}"
        for package in packages
        for flaw in package.get("vulns", [])
    ]
    sys.stdout.write("".join(f"audit: {line}\n" for line in found))
    sys.stdout.write(
        f"audit: {len(packages) - len(skipped)} of {len(packages)} packages looked up, "
        f"{len(found)} known vulnerabilities\n"
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
