"""RECORD files, and what became of what they list."""

import contextlib
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassgate.release.record import Difference, RecordRefused, differences, parse_record
from tests.glassgate.release.conftest import record_of


def test_a_record_is_paths_with_digests() -> None:
    files = {"ledger/a.py": b"1", 'ledger/b "quoted", x.py': b"2"}
    text = record_of({"ledger/a.py": b"1"}) + '"ledger/b ""quoted"", x.py",' + record_of({"": b"2"}).split("\n")[0][1:]
    digests = parse_record(text.encode())
    assert digests == {path: sha256(data).hexdigest() for path, data in files.items()}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n", "line 1: expected path,hash,size"),
        (",,\n", "line 1: expected path,hash,size"),
        ("a,md5=abc,1\n", "line 1: expected sha256=…, got 'md5=abc'"),
        ("a,sha256=,1\n", "line 1: expected sha256="),
        (f"a,sha256={'A' * 43},1\na,sha256={'B' * 43},1\n", "line 2: a stands there twice"),
        ('"a,sha256', "not comma-separated"),
        ("a,\x00,\n", "line 1: expected sha256="),
    ],
)
def test_what_is_no_record_is_refused(text: str, said: str) -> None:
    with pytest.raises(RecordRefused, match=said):
        parse_record(text.encode())


@given(st.binary(max_size=200) | st.text(alphabet='a,"=\nsh256-_', max_size=100).map(str.encode))
def test_any_bytes_give_a_record_or_the_parsers_own_error(data: bytes) -> None:
    with contextlib.suppress(RecordRefused):
        parse_record(data)


def test_differences_come_by_path_with_their_kind() -> None:
    assert differences({"b": "1", "c": "1", "d": "1"}, {"a": "1", "b": "2", "d": "1"}) == (
        Difference("a", "does not belong there"),
        Difference("b", "differs"),
        Difference("c", "is missing"),
    )
    assert str(Difference("b", "differs")) == "b differs"
