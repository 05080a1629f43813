"""Set up `.venv` with the locked versions and this checkout: python3 tools/install.py

This is what `make setup` runs.

Needs Python 3.11 or later with venv, and nothing else. First come the packages whose hashes are
known, then the rest in the locked versions. uv installs if it is on PATH, plain pip otherwise. An
index or folder of wheels that pip is configured to look in is handed on to uv, which does not read
pip's configuration.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def stop(message: str):
    print(f"setup: {message}", file=sys.stderr)
    sys.exit(1)


def pip_setting(name: str) -> list[str]:
    "What pip is configured to use: folders or addresses, empty if nothing"
    for key in (f":env:.{name}", f"install.{name}", f"global.{name}"):
        answer = subprocess.run(
            [PYTHON, "-m", "pip", "config", "get", key], capture_output=True, text=True
        )
        if answer.returncode == 0:
            return answer.stdout.split()
    return []


def uv_environment() -> dict[str, str]:
    "pip's places to look in, under uv's names; what the user has set for uv stays"
    found = {
        "UV_FIND_LINKS": ",".join(pip_setting("find-links")),
        "UV_INDEX": " ".join(pip_setting("extra-index-url")),
        "UV_INDEX_STRATEGY": "unsafe-best-match"
        if pip_setting("extra-index-url")
        else "",  # as pip does
        "UV_DEFAULT_INDEX": " ".join(pip_setting("index-url")[:1]),
        "SSL_CERT_FILE": " ".join(pip_setting("cert")[:1]),
    }
    return {name: value for name, value in found.items() if value and name not in os.environ}


def install(uv: str | None, wanted: list) -> int:
    "The exit status of uv, or of pip where there is none"
    if uv:
        command, env = [uv, "pip", "install", "--python", PYTHON], os.environ | uv_environment()
    else:
        command = [PYTHON, "-m", "pip", "install", "--disable-pip-version-check"]
        env = dict(os.environ)
    return subprocess.run([*command, *wanted], env=env, cwd=ROOT).returncode


def main():
    if sys.version_info < (3, 11):
        stop(
            f"Python 3.11 or later is needed, this is {sys.version.split()[0]}; "
            "try `make setup PYTHON=python3.12`"
        )
    if not PYTHON.exists():
        print(f"making {VENV.name} with Python {sys.version.split()[0]}", flush=True)
        if subprocess.run([sys.executable, "-m", "venv", VENV]).returncode:
            shutil.rmtree(VENV, ignore_errors=True)
            stop(
                "`python -m venv` failed; on Debian and Ubuntu `apt install python3-venv` brings it"
            )
    uv = shutil.which("uv")
    print(
        f"installing about 210 packages (2 GB) with {'uv' if uv else 'pip'}: "
        "a few minutes the first time",
        flush=True,
    )
    hashed = ["--no-deps", "--require-hashes", "-r", ROOT / "requirements.hashes"]
    versions = ["-c", ROOT / "requirements.lock", "-e", f"{ROOT}[models,abilities,dev]"]
    for wanted in (hashed, versions):
        if install(uv, wanted):
            stop(
                "the packages could not be installed; the reason stands above, "
                "and `make setup` tries again"
            )


if __name__ == "__main__":
    main()
