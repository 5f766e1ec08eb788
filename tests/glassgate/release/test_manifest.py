"""release.json: one form, every byte of it accounted for."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassgate.release.manifest import (
    Manifest,
    ManifestRefused,
    parse,
    release_digest_of,
    sdist_of,
    unlike,
    wheel_of,
    write,
)
from ledger.encoding import encode

GOOD: dict[str, Any] = {
    "form": "glassgate-release/v1",
    "version": "1.2.3",
    "commit": "a" * 40,
    "tree": "b" * 40,
    "source_date_epoch": 1_700_000_000,
    "source_digest": "c" * 64,
    "artifacts": [
        {"name": "glassgate-1.2.3-py3-none-any.whl", "sha256": "d" * 64, "size_bytes": 10},
        {"name": "glassgate-1.2.3.tar.gz", "sha256": "e" * 64, "size_bytes": 20},
    ],
    "requirements_lock": "1" * 64,
    "requirements_build_lock": "2" * 64,
    "sbom": {"name": "glassgate-1.2.3.cdx.json", "sha256": "f" * 64, "size_bytes": 30},
    "tools": {"python": "3.11.7", "hatchling": "1.33.0", "zlib": "1.2.13"},
    "trusted_not_rebuilt": [{"name": "msgspec", "version": "0.22.0", "sha256": ["3" * 64, "4" * 64]}],
}


def changed(**fields: Any) -> bytes:
    return encode({**GOOD, **fields})


def test_a_manifest_comes_back_as_the_bytes_it_was() -> None:
    data = encode(GOOD)
    manifest = parse(data)
    assert write(manifest) == data
    assert wheel_of(manifest).size_bytes == 10
    assert sdist_of(manifest).size_bytes == 20
    assert release_digest_of(data) == release_digest_of(write(manifest))


def test_another_spelling_is_no_manifest() -> None:
    for data in (json.dumps(GOOD).encode(), encode(GOOD) + b"\n", b" " + encode(GOOD), b"\xef\xbb\xbf" + encode(GOOD)):
        with pytest.raises(ManifestRefused, match=r"canonical|JSON"):
            parse(data)


@pytest.mark.parametrize("name", sorted(GOOD))
def test_no_field_may_be_missing_and_none_added(name: str) -> None:
    with pytest.raises(ManifestRefused, match=name):
        parse(encode({key: value for key, value in GOOD.items() if key != name}))
    with pytest.raises(ManifestRefused, match="builder"):
        parse(changed(builder="somebody"))


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("form", "glassgate-release/v2", "form"),
        ("version", "1.2.3\n", "version"),
        ("version", "../1", "version"),
        ("version", "9.9.9", "artifacts: expected glassgate-9.9.9-py3-none-any.whl"),
        ("commit", "--upload-pack=x", "commit"),
        ("commit", "a" * 40 + "\n", "commit"),
        ("commit", "A" * 40, "commit"),
        ("tree", "b" * 41, "tree"),
        ("source_digest", "", "source_digest"),
        ("source_date_epoch", -1, "source_date_epoch"),
        ("source_date_epoch", True, "source_date_epoch"),
        ("artifacts", GOOD["artifacts"][:1], "artifacts"),
        ("artifacts", GOOD["artifacts"][::-1], "artifacts: expected"),
        ("artifacts", [{**GOOD["artifacts"][0], "name": "../../x.whl"}, GOOD["artifacts"][1]], "name"),
        ("artifacts", [GOOD["artifacts"][0], GOOD["artifacts"][0]], "artifacts: expected"),
        ("sbom", {**GOOD["sbom"], "name": "release.json"}, "sbom: expected glassgate-1.2.3.cdx.json"),
        ("trusted_not_rebuilt", GOOD["trusted_not_rebuilt"] * 2, "stands there twice"),
        ("trusted_not_rebuilt", [{"name": "a", "version": "1", "sha256": []}], "or there are none"),
        ("trusted_not_rebuilt", [{"name": "a", "version": "1", "sha256": ["2" * 64, "1" * 64]}], "not sorted"),
        ("tools", {**GOOD["tools"], "python": "/usr/bin/python3"}, "python"),
    ],
)
def test_a_field_that_cannot_be_is_named(field: str, value: Any, said: str) -> None:
    with pytest.raises(ManifestRefused, match=said):
        parse(changed(**{field: value}))


def test_every_flipped_byte_is_refused_or_is_another_release() -> None:
    data = encode(GOOD)
    for index in range(len(data)):
        spoiled = data[:index] + bytes([data[index] ^ 1]) + data[index + 1 :]
        try:
            assert write(parse(spoiled)) == spoiled
        except ManifestRefused:
            continue
        assert release_digest_of(spoiled) != release_digest_of(data)


def test_cut_anywhere_it_is_refused() -> None:
    data = encode(GOOD)
    for length in range(len(data)):
        with pytest.raises(ManifestRefused):
            parse(data[:length])


@given(st.binary(max_size=300) | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(
    lambda value: json.dumps(value).encode()
))  # fmt: skip
def test_any_bytes_give_the_parsers_own_error(data: bytes) -> None:
    with pytest.raises(ManifestRefused):
        parse(data)


def test_a_large_one_is_refused_unread() -> None:
    with pytest.raises(ManifestRefused, match="larger than"):
        parse(b"[" * (2 << 20))


def test_what_differs_is_named_in_order_and_tools_are_not_compared() -> None:
    ours = parse(encode(GOOD))
    assert unlike(ours, ours) == ()
    other = msgspec.structs.replace(ours, tree="0" * 40, source_digest="0" * 64)
    assert unlike(other, ours) == ("tree", "source_digest")
    tools = msgspec.structs.replace(ours, tools=msgspec.structs.replace(ours.tools, zlib="1.3"))
    assert unlike(tools, ours) == ()
    assert isinstance(tools, Manifest)
