"""A small project in a git checkout of its own, archives made by hand, and the Python that builds."""

import io
import os
import subprocess
import tarfile
import zipfile
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

import pytest

from glassgate.release.assemble import BUILD_LOCK, Release, assemble, put
from glassgate.release.builder import Builder, BuildRefused, find_builder
from glassgate.release.checkout import Checkout, Tree
from glassgate.release.lock import parse_lock
from glassgate.release.manifest import Tools
from glassgate.release.source_digest import PACKAGES, is_source
from tests.support.source_tree import ROOT

TOOLS: Final = Tools(python="3.11.7", hatchling="1.33.0", zlib="1.2.13")

PYPROJECT: Final = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "glassgate"
version = "1.2.3"
readme = "README.md"
requires-python = ">=3.11"
[tool.hatch.build.targets.wheel]
packages = ["ledger", "approvals", "proxy", "overseer", "glassgate", "migrations"]
"""
LOCK: Final = f"""\
msgspec==0.22.0 \\
    --hash=sha256:{"1" * 64} \\
    --hash=sha256:{"2" * 64} \\
    --hash=sha256:{"3" * 64}
click==8.5.1 \\
    --hash=sha256:{"4" * 64} \\
    --hash=sha256:{"5" * 64}
"""


@dataclass(frozen=True)
class Project:
    """A checkout that a test may spoil."""

    directory: Path

    def git(self, *words: str) -> str:
        who = {"GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@t.example", "GIT_CONFIG_GLOBAL": os.devnull}
        who |= {"GIT_COMMITTER_NAME": "t", "GIT_COMMITTER_EMAIL": "t@t.example", "PATH": os.environ["PATH"]}
        done = subprocess.run(
            ["git", "-C", str(self.directory), *words], capture_output=True, text=True, check=True, env=who
        )
        return done.stdout.strip()

    def write(self, path: str, text: str) -> None:
        (self.directory / path).parent.mkdir(parents=True, exist_ok=True)
        (self.directory / path).write_text(text, encoding="utf-8")

    def commit(self) -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "work")
        return self.git("rev-parse", "HEAD")

    @property
    def checkout(self) -> Checkout:
        return Checkout(self.directory)

    @property
    def tree(self) -> Tree:
        return self.checkout.tree(self.checkout.head())


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Six packages with a file or two each, committed."""
    made = Project(tmp_path / "project")
    made.directory.mkdir()
    for package in PACKAGES:
        made.write(f"{package}/__init__.py", f'"""{package}."""\n')
    made.write("ledger/entry.py", "A = 1\n")
    made.write("migrations/0001_ledger.sql", "SELECT 1; -- é\n")
    made.write("README.md", "# Glass · gate\n")
    made.write(".gitignore", "dist/\n__pycache__/\n")
    made.write("pyproject.toml", PYPROJECT)
    made.write("requirements.lock", LOCK)
    made.write(BUILD_LOCK, (ROOT / BUILD_LOCK).read_text(encoding="utf-8"))
    made.git("init", "--quiet", "--initial-branch=main")
    made.commit()
    return made


@pytest.fixture(scope="session")
def builder() -> Builder:
    """Skips where hatchling is not installed in the locked version."""
    named = os.environ.get("GLASSGATE_BUILDER")
    try:
        return find_builder(parse_lock((ROOT / BUILD_LOCK).read_bytes(), BUILD_LOCK), Path(named) if named else None)
    except BuildRefused as cause:
        pytest.skip(str(cause))


@pytest.fixture
def released(project: Project) -> tuple[Release, Path]:
    """A release of the project whose archives were packed by hand, in dist/."""
    made = assemble(project.tree, packed(project.tree), TOOLS)
    put(made, project.directory / "dist")
    return made, project.directory / "dist"


def packed(tree: Tree) -> dict[str, bytes]:
    """Wheel and sdist as a build of `tree` might give."""
    program = {path: file.data for path, file in tree.files.items() if is_source(path)}
    program["glassgate-1.2.3.dist-info/METADATA"] = b"Name: glassgate\nVersion: 1.2.3\n"
    return {
        "glassgate-1.2.3-py3-none-any.whl": a_wheel(program),
        "glassgate-1.2.3.tar.gz": an_sdist({path: file.data for path, file in tree.files.items()}),
    }


def record_of(files: Mapping[str, bytes]) -> str:
    lines = [
        f"{path},sha256={urlsafe_b64encode(sha256(data).digest()).decode().rstrip('=')},{len(data)}\n"
        for path, data in files.items()
    ]
    return "".join(lines) + "glassgate-1.2.3.dist-info/RECORD,,\n"


def a_wheel(files: Mapping[str, bytes], record: str | None = None) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in files.items():
            archive.writestr(zipfile.ZipInfo(path), data, zipfile.ZIP_DEFLATED)
        text = record_of(files) if record is None else record
        archive.writestr(zipfile.ZipInfo("glassgate-1.2.3.dist-info/RECORD"), text)
    return out.getvalue()


def an_sdist(files: Mapping[str, bytes], top: str = "glassgate-1.2.3") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for path, data in files.items():
            info = tarfile.TarInfo(f"{top}/{path}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def unpack(wheel: bytes, site: Path) -> Path:
    """What an installer does with a wheel, as far as it matters here."""
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        archive.extractall(site)
    return site
