"""One virtual environment for each system, under ``.bench/``; made anew when its requirements or its Python change."""

from __future__ import annotations

import functools
import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.peers.spec import OURS, System
from benchmarks.peers.systems.taskq import ROOT

FOLDER = ROOT / ".bench"
# One for all systems, so that none has the better interpreter; first the oldest that all of them accept.
WANTED = ("3.12", "3.13", "3.14", "3.11")
TOLD = {"redis", "hiredis", "gevent", "uvloop", "coredis", "msgpack", "kombu"}  # versions that are shown besides


@functools.cache
def version_of(python: str) -> tuple[int, int] | None:
    """Return the version of an interpreter; None if it does not run, as the shim of a version that is not chosen."""
    try:
        told = subprocess.run(
            [python, "-c", "import sys; print(*sys.version_info[:2])"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    major, minor = told.stdout.split()
    return int(major), int(minor)


def candidates() -> Iterator[str]:
    """Yield interpreters in the order in which they are wanted."""
    for wanted in WANTED:
        if found := shutil.which(f"python{wanted}"):
            yield found
        yield from (str(path) for path in sorted(Path.home().glob(f".pyenv/versions/{wanted}.*/bin/python{wanted}")))
    yield sys.executable


def choose_python(asked: str | None, oldest: tuple[int, int]) -> str:
    """Return the interpreter that was asked for, or the first one that will do."""
    for python in [asked] if asked else candidates():
        if (version := version_of(python)) and version >= oldest:
            return python
    raise SystemExit(f"no Python >= {oldest[0]}.{oldest[1]} here ({asked or 'on PATH'}); name one by --python")


def unpinned(requirement: str) -> str:
    """Return a requirement without its version."""
    return re.sub(r"[=<>~!]=.*$", "", requirement)


def ensure(system: System, python: str, *, newest: bool) -> Path:
    """Return the environment of a system; install it if it is not there, or is another."""
    requirements = [unpinned(each) for each in system.requirements] if newest else list(system.requirements)
    stamp = {"python": python, "requirements": requirements}
    if system.name == OURS:
        stamp["project"] = hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
    folder = FOLDER / system.name
    written = folder / "installed.json"
    if written.is_file() and json.loads(written.read_text()) == stamp:
        return folder
    print(f"installing {system.name}: {' '.join(requirements)}", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([python, "-m", "venv", str(folder)], check=True)
    pip = [str(folder / "bin/python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*pip, *requirements], check=True)
    written.write_text(json.dumps(stamp))
    return folder


def versions(system: System, folder: Path) -> dict[str, str]:
    """Return the versions of what was asked for and of the clients below it."""
    pip = [str(folder / "bin/python"), "-m", "pip", "--disable-pip-version-check", "list", "--format=json"]
    listed = json.loads(subprocess.run(pip, capture_output=True, text=True, check=True).stdout)
    wanted = TOLD | {re.split(r"[\[=<>~! ]", each)[0].lower() for each in system.requirements} | {system.name}
    return {each["name"]: each["version"] for each in listed if each["name"].lower() in wanted}
