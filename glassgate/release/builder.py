"""The interpreter that builds: one in which exactly the locked build tools are installed."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from glassgate.release.errors import ReleaseRefused
from glassgate.release.lock import Pin
from glassgate.release.manifest import Tools

__all__ = ["BuildRefused", "Builder", "find_builder"]

TIMEOUT_S: Final = 300
SAID_LINES: Final = 15

_PROBE: Final = """
import importlib.metadata, json, platform, sys, zlib
def version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
print(json.dumps({"python": platform.python_version(), "zlib": zlib.ZLIB_RUNTIME_VERSION,
                  "packages": {name: version(name) for name in sys.argv[1:]}}))
"""


class BuildRefused(ReleaseRefused):
    """The build tools are not what the lock says, or they failed, or what they made is not to be trusted."""


@dataclass(frozen=True, slots=True)
class Builder:
    """A Python to build with, and what it calls its tools."""

    python: Path
    tools: Tools

    def run(self, script: str, *words: str, cwd: Path, environ: Mapping[str, str]) -> None:
        """Run `script` there, with that environment and nothing of ours. Raises BuildRefused."""
        run_python(self.python, script, *words, cwd=cwd, environ=environ)


def find_builder(pins: tuple[Pin, ...], wanted: Path | None = None) -> Builder:
    """The first Python that has what the build lock says: `wanted`, or this one, or `builder/` in its environment.

    Raises BuildRefused if there is none; what is installed is compared by version, since pip compared by hash.
    """
    # Absolute, as it runs elsewhere; not resolved, as the link in an environment is what makes it one.
    places = [wanted.absolute()] if wanted else [Path(sys.executable), Path(sys.prefix) / "builder" / "bin" / "python"]
    reasons = []
    for python in places:
        try:
            return _probe(python, pins)
        except BuildRefused as cause:
            reasons.append(str(cause))
    raise BuildRefused(
        f"no Python with the locked build tools: {'; '.join(reasons)}. `make release` sets one up, or name one: "
        "pip install --require-hashes -r requirements-build.lock in an environment of its own, then --builder PYTHON"
    )


def _probe(python: Path, pins: tuple[Pin, ...]) -> Builder:
    if not os.access(python, os.X_OK):
        raise BuildRefused(f"{python} is not there")
    out = run_python(python, _PROBE, *(pin.name for pin in pins), cwd=Path(os.sep), environ={"PATH": os.defpath})
    said = json.loads(out)
    for pin in pins:
        installed = said["packages"][pin.name]
        if installed is None and pin.marker:
            continue  # not for this platform; if it is, the build says so
        if installed != pin.version:
            raise BuildRefused(f"{python} has {pin.name} {installed or 'not installed'}, locked is {pin.version}")
    return Builder(python, Tools(python=said["python"], hatchling=_version(pins, "hatchling"), zlib=said["zlib"]))


def _version(pins: tuple[Pin, ...], name: str) -> str:
    for pin in pins:
        if pin.name == name:
            return pin.version
    raise BuildRefused(f"requirements-build.lock does not pin {name}")


def run_python(python: Path, script: str, *words: str, cwd: Path, environ: Mapping[str, str]) -> str:
    """What it prints. -s -P: neither the user's packages nor the working directory get a say in it."""
    try:
        done = subprocess.run(
            [str(python), "-s", "-P", "-c", script, *words],
            cwd=cwd,
            env=dict(environ),
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except OSError as cause:
        raise BuildRefused(f"{python} does not run: {cause.strerror}") from cause
    except subprocess.TimeoutExpired as cause:
        raise BuildRefused(f"{python} was not done within {TIMEOUT_S} s") from cause
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()[-SAID_LINES:]
        raise BuildRefused("\n  ".join([f"{python} failed with exit status {done.returncode}", *said]))
    return done.stdout.decode("utf-8", "replace")
