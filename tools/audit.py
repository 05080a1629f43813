"""Look the locked versions up among known faults: python tools/audit.py

This is what `make audit` runs. pip-audit comes into a folder of its own, which is thrown away, so
that it is no package of `.venv`. One line where its database cannot be reached: nothing was looked
up then, and the exit status is 1 as for a fault.
"""

import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TOOL = "pip-audit==2.10.1"
OUT_OF_REACH = "audit: nothing was looked up, the database of known faults cannot be reached"


def fetched(folder: Path) -> Path | None:
    "The program, put into a folder; None if the registry does not give it"
    venv.create(folder, with_pip=True)
    scripts = folder / ("Scripts" if sys.platform == "win32" else "bin")
    command = [scripts / "python", "-m", "pip", "install", "--quiet", TOOL]
    asked = subprocess.run(command, capture_output=True, text=True)
    return scripts / "pip-audit" if asked.returncode == 0 else None


def looked_up(program: Path) -> list[dict]:
    "What the database says of every package: name, version, vulns; those it does not know are out"
    command = [program, "--no-deps", "--disable-pip", "--progress-spinner", "off",
               "--format", "json", "--requirement", ROOT / "requirements.lock"]
    asked = subprocess.run(command, capture_output=True, text=True)
    try:
        packages = json.loads(asked.stdout)["dependencies"]
    except ValueError:      # no connection at all: it ends in a traceback
        return []
    return [package for package in packages if "skip_reason" not in package]


def faults(packages: list[dict]) -> list[str]:
    "A line for every known fault"
    lines = []
    for package in packages:
        for fault in package["vulns"]:
            mended = ", ".join(fault["fix_versions"]) or "no version yet"
            name = f"{package['name']} {package['version']}"
            lines.append(f"{name}: {fault['id']}, mended in {mended}")
    return lines


def main():
    with tempfile.TemporaryDirectory() as folder:
        program = fetched(Path(folder))
        packages = looked_up(program) if program else []
    if not packages:
        sys.exit(OUT_OF_REACH)
    found = faults(packages)
    print("\n".join([*found, f"audit: {len(packages)} packages, {len(found)} known faults"]))
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
