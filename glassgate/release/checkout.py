"""What a commit holds, read from git's own objects: no work tree, no line-ending conversion, no attributes.

A working tree can be dirty in ways that `git status` does not show; `git archive` obeys attributes that are no part
of the commit. Blobs are neither.
"""

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from glassgate.release.errors import ReleaseRefused

__all__ = ["Checkout", "CheckoutRefused", "Tree", "TreeFile"]

TIMEOUT_S: Final = 60
SHOWN: Final = 5

_ENTRY: Final = re.compile(rb"(?P<mode>[0-7]{6}) (?P<kind>[a-z]+) (?P<oid>[0-9a-f]{40,64})\t(?P<path>.+)", re.DOTALL)
_COMMIT: Final = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


class CheckoutRefused(ReleaseRefused):
    """No git, no checkout, no such commit, a dirty tree, or a tree that holds what a release must not."""


@dataclass(frozen=True, slots=True)
class TreeFile:
    """One file of a commit."""

    data: bytes
    executable: bool


@dataclass(frozen=True, slots=True)
class Tree:
    """Everything that one commit holds."""

    commit: str
    tree: str
    epoch: int  # when it was committed, in seconds: SOURCE_DATE_EPOCH
    files: dict[str, TreeFile]  # path with slashes -> file, sorted

    def read(self, path: str) -> bytes:
        """That file's bytes. Raises CheckoutRefused if the commit has none."""
        if path not in self.files:
            raise CheckoutRefused(f"commit {self.commit[:12]} has no {path}")
        return self.files[path].data


class Checkout:
    """A git checkout of this project."""

    def __init__(self, directory: Path) -> None:
        """Raises CheckoutRefused if `directory` is in none, or git is not installed."""
        self._directory = directory
        self._directory = Path(os.fsdecode(self._git("rev-parse", "--show-toplevel").rstrip(b"\n")))

    @property
    def directory(self) -> Path:
        return self._directory

    def head(self) -> str:
        return self._git("rev-parse", "--verify", "HEAD^{commit}").decode("ascii").strip()

    def refuse_dirty(self) -> None:
        """Raises CheckoutRefused if the working tree is not what HEAD holds, files that git does not know included.

        Such files would not get into the release; whoever tested with them would release something else.
        """
        status = self._git("status", "--porcelain=v1", "-z", "--untracked-files=all", "--no-renames")
        changed = [os.fsdecode(line[3:]) for line in status.split(b"\0") if line]
        if changed:
            more = f" and {len(changed) - SHOWN} more" if len(changed) > SHOWN else ""
            raise CheckoutRefused(
                f"the working tree is not what the commit holds: {', '.join(map(repr, changed[:SHOWN]))}{more}. "
                "A release is made from a commit: commit these, put them aside, or let git ignore them"
            )

    def tree(self, commit: str) -> Tree:
        """What `commit` (its full object id) holds. Raises CheckoutRefused."""
        if not _COMMIT.fullmatch(commit):
            raise CheckoutRefused(f"{commit[:80]!r} is not a commit's id")
        try:
            words = ("--max-count=1", "--no-show-signature", "--format=%H %T %ct", commit, "--")
            said = self._git("log", *words).decode("ascii").split()
        except CheckoutRefused as cause:
            raise CheckoutRefused(f"this checkout does not have commit {commit}: fetch it first") from cause
        if len(said) != 3 or said[0] != commit:
            raise CheckoutRefused(f"{commit} is not a commit here")
        return Tree(commit, said[1], int(said[2]), self._files(said[1]))

    def _files(self, tree: str) -> dict[str, TreeFile]:
        listed = self._git("ls-tree", "-r", "-z", "--full-tree", tree).split(b"\0")
        entries = []
        for line in filter(None, listed):
            entry = _ENTRY.fullmatch(line)
            path = os.fsdecode(entry["path"]) if entry else ""
            if entry is None or entry["mode"] not in (b"100644", b"100755"):
                # A link could lead out of the tree, a submodule is not in it.
                raise CheckoutRefused(f"{path or line!r} is not a plain file, and a release holds nothing else")
            if {"", ".", ".."} & set(path.split("/")):
                # git's porcelain never writes such a tree, somebody's own program can; it would lead out of an export.
                raise CheckoutRefused(f"{path!r} is no path inside a tree")
            entries.append((path, entry["mode"] == b"100755", entry["oid"]))
        blobs = self._blobs([oid for _, _, oid in entries])
        files = {path: TreeFile(data, mode) for (path, mode, _), data in zip(entries, blobs, strict=True)}
        return dict(sorted(files.items()))

    def _blobs(self, oids: list[bytes]) -> list[bytes]:
        """Their bytes, in one go (git-cat-file(1), BATCH OUTPUT)."""
        out = self._git("cat-file", "--batch", stdin=b"".join(oid + b"\n" for oid in oids))
        blobs, at = [], 0
        for oid in oids:
            line_end = out.index(b"\n", at)
            header = out[at:line_end].split()
            if len(header) != 3 or header[:2] != [oid, b"blob"]:
                raise CheckoutRefused(f"git has no {oid.decode('ascii')}: is this a shallow or partial clone?")
            start, size = line_end + 1, int(header[2])
            blobs.append(out[start : start + size])
            at = start + size + 1
        return blobs

    def _git(self, *words: str, stdin: bytes = b"") -> bytes:
        # Replacement objects would let a clone answer with another commit's content under the asked-for name.
        # Variables like GIT_DIR, which hooks are run with, would lead to another repository than the one asked for.
        environ = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        environ |= {"GIT_NO_REPLACE_OBJECTS": "1", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
        try:
            done = subprocess.run(
                ["git", "-C", str(self._directory), *words],
                input=stdin,
                capture_output=True,
                env=environ,
                timeout=TIMEOUT_S,
                check=False,
            )
        except FileNotFoundError as cause:
            raise CheckoutRefused("git is not installed, and a release is made from a commit") from cause
        except subprocess.TimeoutExpired as cause:
            raise CheckoutRefused(f"git {words[0]} has not answered within {TIMEOUT_S} s") from cause
        if done.returncode != 0:
            said = done.stderr.decode("utf-8", "replace").strip().splitlines()
            raise CheckoutRefused(f"git {words[0]}: {said[0] if said else f'exit status {done.returncode}'}")
        return done.stdout
