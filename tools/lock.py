"""Write requirements.lock and requirements.hashes: python tools/lock.py

This is what `make lock` runs. The versions are those installed beside this Python.

A list of exact versions that pip and uv take as constraints (`-c requirements.lock`). Local parts
of versions such as `+cpu` are left off, so that the lock does not choose a build; no addresses. A
version that the oldest Python we promise cannot install is refused: install an older one, and lock
again.

pip takes hashes for all packages or for none, and torch comes in many builds. So what has one
build for every machine stands with its hash in a second file, which tools/install.py installs
first. The hashes are those that the registry gives to pip.
"""

from importlib.metadata import distributions
from pathlib import Path
import json
import re
import subprocess
import sys

ROOT = Path(__file__).resolve().parents[1]
OLDEST = "3.11.0"
SKIP = {"culturespa", "pip", "setuptools", "wheel", "uv"}


# one file for every machine and every Python that we promise; of some packages a source alone
ONE_BUILD = re.compile(r"-(py3|py2\.py3)-none-any\.whl$|\.tar\.gz$|\.zip$")
ASK_PIP = [
    sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--ignore-installed",
    "--no-deps", "--disable-pip-version-check", "--report", "-"]


def versions() -> dict[str, str]:
    "Name -> version of what is installed. Stops where the oldest Python could not have it"
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
    return dict(sorted(found.items()))


def hashes(pinned: list[str]) -> list[str]:
    "`name==version --hash=sha256:...` of those that have one build. Stops where pip finds none"
    asked = subprocess.run([*ASK_PIP, *pinned], capture_output=True, text=True)
    if asked.returncode:
        sys.exit(f"lock: pip cannot say the hashes: {asked.stderr.strip().splitlines()[-1]}")
    found = {}
    for package in json.loads(asked.stdout)["install"]:
        file = package["download_info"]["url"].rsplit("/", 1)[-1]
        name = re.sub(r"[-_.]+", "-", package["metadata"]["name"]).lower()
        if ONE_BUILD.search(file):
            found[name] = package["download_info"]["archive_info"]["hashes"]["sha256"]
    return [f"{pin} --hash=sha256:{found[pin.split('==')[0]]}"
            for pin in pinned if pin.split("==")[0] in found]


def write(name: str, title: str, lines: list[str]):
    (ROOT / name).write_text("\n".join([f"# {title}", *lines]) + "\n")
    print(f"{name}: {len(lines)} packages")


def main():
    pinned = [f"{name}=={version}" for name, version in versions().items()]
    write(
        "requirements.lock",
        "Exact versions that work together, made by `make lock`. "
        "Use: pip install -c requirements.lock -e '.[models,abilities,dev]'",
        pinned)
    write(
        "requirements.hashes",
        "Those of requirements.lock with one build for every machine, made by `make lock`. "
        "Use: pip install --no-deps --require-hashes -r requirements.hashes",
        hashes(pinned))


if __name__ == "__main__":
    main()
