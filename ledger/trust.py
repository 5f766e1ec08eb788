"""Which logs and witnesses are trusted, and how many of them it takes (c2sp.org/tlog-policy).

log <vkey> [<url>]
witness <name> <vkey> [<url>]
group <name> all|any|<k> <member> ...
quorum <name>|none
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ledger.note import COSIGNATURE, ED25519, ML_DSA_44, Note, NoteRefused, Verifier, open_note, parse_vkey

__all__ = ["Group", "Trust", "TrustRefused", "parse_trust"]

MAX_POLICY_BYTES: Final = 512 * 1024
MAX_LINES: Final = 1000


class TrustRefused(ValueError):
    """Not a policy (with the line's number), or a note that does not satisfy one."""


@dataclass(frozen=True, slots=True)
class Group:
    """Satisfied once `threshold` of its members (witnesses or groups) are."""

    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Trust:
    """Trusted logs, named witnesses and groups, and the name whose satisfaction is the quorum ("" = none needed)."""

    logs: tuple[Verifier, ...]
    witnesses: Mapping[str, Verifier]
    groups: Mapping[str, Group]
    quorum: str
    urls: Mapping[str, str]  # by vkey

    def check(self, note: Note, origin: str) -> dict[str, int]:
        """The times of the witnesses' cosignatures, by name. Raises TrustRefused.

        1 a trusted log whose name is the origin signed; 2 no known key's signature fails; 3 the quorum cosigned.
        """
        logs = [log for log in self.logs if log.name == origin]
        if not logs:
            raise TrustRefused(f"the log {origin!r} is not trusted here")
        try:
            signed = dict(open_note(note, [*logs, *self.witnesses.values()]))
        except NoteRefused as cause:
            raise TrustRefused(str(cause)) from cause
        if not any(log in signed for log in logs):
            raise TrustRefused("no signature by the log's trusted key")
        times = {name: signed[key] for name, key in self.witnesses.items() if key in signed}
        if self.quorum and not self._satisfied(self.quorum, times):
            raise TrustRefused(f"the quorum {self.quorum!r} is not reached: cosigned by {sorted(times) or 'nobody'}")
        return times

    def _satisfied(self, name: str, times: Mapping[str, int]) -> bool:
        group = self.groups.get(name)
        if group is None:
            return name in times
        # Groups name only what was defined before them, so this ends.
        return sum(self._satisfied(member, times) for member in group.members) >= group.threshold


def parse_trust(text: str) -> Trust:
    """A policy file; raises TrustRefused naming the first line that is wrong."""
    lines = text.split("\n")
    if len(text) > MAX_POLICY_BYTES or len(lines) > MAX_LINES:
        raise TrustRefused("longer than any policy")
    parser = _Parser()
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            parser.line(words[0], words[1:])
        except (TrustRefused, NoteRefused) as cause:
            raise TrustRefused(f"line {number}: {cause}") from cause
    if parser.quorum is None:
        raise TrustRefused("no quorum line")
    return Trust(tuple(parser.logs), parser.witnesses, parser.groups, parser.quorum, parser.urls)


class _Parser:
    def __init__(self) -> None:
        self.logs: list[Verifier] = []
        self.witnesses: dict[str, Verifier] = {}
        self.groups: dict[str, Group] = {}
        self.quorum: str | None = None
        self.urls: dict[str, str] = {}
        self._keys: set[bytes] = set()
        self._taken: set[str] = set()  # members of some group

    def line(self, keyword: str, words: list[str]) -> None:
        match keyword, words:
            case "log", [vkey, *url] if len(url) <= 1:
                self.logs.append(self._key(vkey, url, (ED25519,)))
            case "witness", [name, vkey, *url] if len(url) <= 1:
                self._new(name)
                self.witnesses[name] = self._key(vkey, url, (COSIGNATURE, ML_DSA_44))
            case "group", [name, threshold, *members] if members:
                self._group(name, threshold, members)
            case "quorum", [name] if self.quorum is None:
                if name != "none":
                    self._known(name)
                self.quorum = "" if name == "none" else name
            case _:
                raise TrustRefused("expected log, witness, group or one quorum, with their words")

    def _key(self, vkey: str, url: list[str], types: tuple[int, ...]) -> Verifier:
        verifier = parse_vkey(vkey)
        if verifier.type not in types:
            raise TrustRefused("a key of another type than this line is for")
        if verifier.public_key in self._keys:
            # One key in two roles would count twice.
            raise TrustRefused("this key stands here already")
        self._keys.add(verifier.public_key)
        if url:
            self.urls[vkey] = url[0]
        return verifier

    def _group(self, name: str, threshold: str, members: list[str]) -> None:
        self._new(name)
        for member in members:
            self._known(member)
            if member in self._taken:
                raise TrustRefused(f"{member!r} is a member of a group already")
            self._taken.add(member)
        if threshold in ("all", "any"):
            needed = len(members) if threshold == "all" else 1
        elif len(threshold) <= 9 and threshold.isascii() and threshold.isdigit() and str(int(threshold)) == threshold:
            needed = int(threshold)
        else:
            raise TrustRefused("a threshold is all, any or a number")
        if not 1 <= needed <= len(members):
            raise TrustRefused(f"a threshold of {needed} among {len(members)}")
        self.groups[name] = Group(needed, tuple(members))

    def _new(self, name: str) -> None:
        if name == "none" or name in self.witnesses or name in self.groups:
            raise TrustRefused(f"the name {name!r} is taken")

    def _known(self, name: str) -> None:
        if name not in self.witnesses and name not in self.groups:
            raise TrustRefused(f"{name!r} is not defined above")
