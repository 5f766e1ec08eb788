"""What a pack holds, as values; and as the members of its archive, both ways.

    manifest.json                       what the pack is about, its entries, and every other file with its SHA-256
    checkpoint                          the signed tree head, with its cosignatures
    entries/<index>.leaf                the entry's stub: the leaf of the tree
    entries/<index>.facts, .facts-blind what it says, and the blind of the commitment
    entries/<index>.content, .content-blind
    proofs/<index>.tlog-proof           that the leaf is in the checkpoint's tree (c2sp.org/tlog-proof)
    stubs/<writer>-<counter>.leaf       stubs of other entries, up to each writer's next signature; nothing but stubs
    index.html                          the pack explained to people; proves nothing

Every file but the manifest stands in the manifest with its digest, and there is no other. Nothing in a pack says whom
to trust: keys come from elsewhere.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from ledger.encoding import NotCanonical, decode, encode
from ledger.entry import BLIND_BYTES, Part
from ledger.framing import MAX_PART_BYTES
from ledger.pack.archive import PackRefused, read_archive, write_archive

__all__ = ["Held", "Manifest", "Pack", "Scope", "manifest_of", "pack_bytes", "read_pack"]

FORMAT: Final = "glassgate-pack/v1"

_TIME: Final = "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{6}Z"
_PERIOD: Final = re.compile(f"{_TIME}/{_TIME}", re.ASCII)

ContentForm = Literal["none", "clear", "sealed", "erased", "withheld"]
ScopeKind = Literal["grant", "request", "period", "store"]


class Scope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the pack is about. `name`: the grant's or request's id, the store, or "<from>/<until>" of a period.

    A period is the entries [first, end) of the log; the other kinds look there for what belongs to `name`.
    """

    kind: ScopeKind
    name: str
    first: int
    end: int


class _Listed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    index: int
    content: ContentForm


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """manifest.json, canonical JSON."""

    format: Literal["glassgate-pack/v1"]
    origin: str
    member: str
    scope: Scope
    entries: list[_Listed]
    files: list[_File]


@dataclass(frozen=True, slots=True)
class Held:
    """One entry of a pack. `content` is None where there is none or where the pack has not got it: see the form."""

    index: int
    leaf: bytes
    facts: Part
    content: Part | None
    content_form: ContentForm
    proof: bytes


@dataclass(frozen=True, slots=True)
class Pack:
    """A pack's parts, nothing of them verified. `stubs` are leaves by (writer, counter); `entries` are by index."""

    origin: str
    member: str
    scope: Scope
    checkpoint: bytes
    entries: tuple[Held, ...]
    stubs: Mapping[tuple[str, int], bytes]
    page: bytes


def pack_bytes(pack: Pack) -> bytes:
    """The pack as a file. Raises PackRefused where it is larger than a pack may be."""
    members = _members(pack)
    members["manifest.json"] = encode(manifest_of(pack, members))
    return write_archive(members)


def manifest_of(pack: Pack, members: Mapping[str, bytes]) -> Manifest:
    """The manifest of a pack whose other members are these."""
    files = [
        _File(name, len(data), hashlib.sha256(data).hexdigest())
        for name, data in sorted(members.items())
        if name != "manifest.json"
    ]
    listed = [_Listed(held.index, held.content_form) for held in pack.entries]
    return Manifest(FORMAT, pack.origin, pack.member, pack.scope, listed, files)


def _members(pack: Pack) -> dict[str, bytes]:
    members = {"checkpoint": pack.checkpoint, "index.html": pack.page}
    for held in pack.entries:
        stem = f"entries/{held.index}"
        members[f"{stem}.leaf"] = held.leaf
        members[f"{stem}.facts"] = held.facts.data
        members[f"{stem}.facts-blind"] = held.facts.blind
        if held.content is not None:
            members[f"{stem}.content"] = held.content.data
            members[f"{stem}.content-blind"] = held.content.blind
        members[f"proofs/{held.index}.tlog-proof"] = held.proof
    for (writer, counter), leaf in pack.stubs.items():
        members[f"stubs/{writer}-{counter}.leaf"] = leaf
    return members


def read_pack(data: bytes) -> Pack:
    """The pack that `data` is, in its one spelling; raises PackRefused, which names the file.

    That what is in it is true is another question: ledger.pack.verify.
    """
    members = read_archive(data)
    manifest = _read_manifest(members)
    _check_files(manifest, members)
    taken = {"manifest.json", "checkpoint", "index.html"}
    entries = tuple(_held(listed, members, taken) for listed in manifest.entries)
    stubs = {}
    for name in members:
        if name.startswith("stubs/"):
            writer, _, counter = name.removeprefix("stubs/").removesuffix(".leaf").partition("-")
            stubs[writer, int(counter)] = members[name]
            taken.add(name)
    if spare := sorted(members.keys() - taken):
        raise PackRefused(spare[0], "belongs to no entry that the manifest lists")
    return Pack(
        manifest.origin,
        manifest.member,
        manifest.scope,
        _member(members, "checkpoint"),
        entries,
        stubs,
        _member(members, "index.html"),
    )


def _read_manifest(members: Mapping[str, bytes]) -> Manifest:
    try:
        manifest = msgspec.convert(decode(_member(members, "manifest.json")), Manifest)
    except (NotCanonical, msgspec.ValidationError) as cause:
        raise PackRefused("manifest.json", str(cause)) from cause
    indexes = [listed.index for listed in manifest.entries]
    if indexes != sorted(set(indexes)) or (indexes and indexes[0] < 0):
        raise PackRefused("manifest.json", "its entries are not in the order of their indexes, each once")
    scope = manifest.scope
    if not 0 <= scope.first <= scope.end:
        raise PackRefused("manifest.json", "its scope ends before it begins")
    if scope.kind == "period" and not _PERIOD.fullmatch(scope.name):
        raise PackRefused("manifest.json", "its period is not two times in UTC with six digits of a second")
    return manifest


def _check_files(manifest: Manifest, members: Mapping[str, bytes]) -> None:
    """Every file of the manifest is there, as its digest says, and nothing else is."""
    listed = [file.name for file in manifest.files]
    if listed != sorted(set(listed)):
        raise PackRefused("manifest.json", "its files are not in order, each once")
    for file in manifest.files:
        if len(_member(members, file.name)) != file.bytes:
            raise PackRefused(file.name, f"has {len(members[file.name])} bytes; manifest.json says {file.bytes}")
        if hashlib.sha256(members[file.name]).hexdigest() != file.sha256:
            raise PackRefused(file.name, "is not what manifest.json has the SHA-256 of")
    if unlisted := sorted(members.keys() - set(listed) - {"manifest.json"}):
        raise PackRefused(unlisted[0], "is not listed in manifest.json")


def _held(listed: _Listed, members: Mapping[str, bytes], taken: set[str]) -> Held:
    stem = f"entries/{listed.index}"
    taken |= {f"{stem}.leaf", f"{stem}.facts", f"{stem}.facts-blind", f"proofs/{listed.index}.tlog-proof"}
    content = None
    if listed.content in ("clear", "sealed"):
        taken |= {f"{stem}.content", f"{stem}.content-blind"}
        content = _part(members, f"{stem}.content", "sealed" if listed.content == "sealed" else "clear")
    return Held(
        listed.index,
        _member(members, f"{stem}.leaf"),
        _part(members, f"{stem}.facts", "clear"),
        content,
        listed.content,
        _member(members, f"proofs/{listed.index}.tlog-proof"),
    )


def _part(members: Mapping[str, bytes], name: str, form: Literal["clear", "sealed"]) -> Part:
    data, blind = _member(members, name), _member(members, f"{name}-blind")
    if len(blind) != BLIND_BYTES:
        raise PackRefused(f"{name}-blind", f"a blind has {BLIND_BYTES} bytes, not {len(blind)}")
    if len(data) > MAX_PART_BYTES:
        raise PackRefused(name, f"is longer than {MAX_PART_BYTES} bytes")
    return Part(data, blind, form)


def _member(members: Mapping[str, bytes], name: str) -> bytes:
    if name not in members:
        raise PackRefused(name[:200], "is missing")
    return members[name]
