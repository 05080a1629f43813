"""Write requirements.lock from what is installed beside this Python: python tools/lock.py

This is what `make lock` runs.

A list of exact versions that pip and uv take as constraints (`-c requirements.lock`). Local parts
of versions such as `+cpu` are left off, so that the lock does not choose a build; no hashes, no
addresses. A version that the oldest Python we promise cannot install is refused: install an older
one, and lock again.
"""

from importlib.metadata import distributions
from pathlib import Path
import re
import sys

ROOT = Path(__file__).resolve().parents[1]
OLDEST = "3.11.0"
SKIP = {"culturespa", "pip", "setuptools", "wheel", "uv"}


def main():
    from packaging.specifiers import SpecifierSet

    found, refused = {}, []
    for package in distributions():
        name = re.sub(r"[-_.]+", "-", package.metadata["Name"]).lower()
        if name not in SKIP:
            found[name] = package.version.split("+")[0]
        wants = package.metadata["Requires-Python"] or ""
        if OLDEST not in SpecifierSet(wants):
            refused.append(f"{name} {package.version} wants Python {wants}")
    if refused:
        sys.exit("lock: not for Python " + OLDEST + ": " + "; ".join(refused))
    lines = [
        "# Exact versions that work together, made by `make lock`. "
        "Use: pip install -c requirements.lock -e '.[models,abilities,dev]'"
    ]
    lines += [f"{name}=={version}" for name, version in sorted(found.items())]
    (ROOT / "requirements.lock").write_text("\n".join(lines) + "\n")
    print(f"requirements.lock: {len(found)} packages")


if __name__ == "__main__":
    main()
