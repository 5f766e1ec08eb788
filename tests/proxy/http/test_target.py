"""The request target: refused, never normalised; what is left has one reading."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.http.faults import Fault, HeadError
from proxy.http.target import MAX_TARGET_BYTES, decoded_path

REFUSED = [
    (b"http://evil.example/", Fault.TARGET_FORM),
    (b"evil.example:443", Fault.TARGET_FORM),
    (b"*", Fault.TARGET_FORM),
    (b"", Fault.TARGET_FORM),
    (b"a/b", Fault.TARGET_FORM),
    (b"?a", Fault.TARGET_FORM),
    (b"/a#b", Fault.FRAGMENT),
    (b"/a?b#c", Fault.FRAGMENT),
    (b"//evil.example/a", Fault.EMPTY_SEGMENT),
    (b"/a//b", Fault.EMPTY_SEGMENT),
    (b"/a/./b", Fault.DOT_SEGMENT),
    (b"/a/../b", Fault.DOT_SEGMENT),
    (b"/..", Fault.DOT_SEGMENT),
    (b"/.", Fault.DOT_SEGMENT),
    (b"/a/%2e%2e/b", Fault.DOT_SEGMENT),
    (b"/a/%2E./b", Fault.DOT_SEGMENT),
    (b"/a/.%2e", Fault.DOT_SEGMENT),
    (b"/a/%2e/b", Fault.DOT_SEGMENT),
    (b"/a%2fb", Fault.ENCODED_DELIMITER),
    (b"/a%2F..%2Fb", Fault.ENCODED_DELIMITER),
    (b"/a%5cb", Fault.ENCODED_DELIMITER),
    (b"/a%00b", Fault.ENCODED_DELIMITER),
    (b"/a%0d%0aX:%20b", Fault.ENCODED_DELIMITER),
    (b"/a%7fb", Fault.ENCODED_DELIMITER),
    (b"/a%252e%252e/b", Fault.DOUBLE_ENCODING),
    (b"/a%252fb", Fault.DOUBLE_ENCODING),
    (b"/a\\..\\b", Fault.BACKSLASH),
    (b"/a;b=c/d", Fault.PATH_PARAMETER),
    (b"/a/..;/b", Fault.PATH_PARAMETER),
    (b"/a%zz", Fault.PERCENT_ENCODING),
    (b"/a%2", Fault.PERCENT_ENCODING),
    (b"/a%", Fault.PERCENT_ENCODING),
    (b"/a%ff", Fault.PERCENT_ENCODING),
    (b"/a%c0%ae%c0%ae/b", Fault.PERCENT_ENCODING),
    (b"/\xe4", Fault.TARGET_CHARACTER),
    (b"/a?\xe4", Fault.TARGET_CHARACTER),
    (b"/a\x01", Fault.TARGET_CHARACTER),
    (b'/a"b', Fault.TARGET_CHARACTER),
    (b"/a<b>", Fault.TARGET_CHARACTER),
    (b"/a|b", Fault.TARGET_CHARACTER),
    (b"/" + b"a" * MAX_TARGET_BYTES, Fault.TARGET_TOO_LONG),
]


@pytest.mark.parametrize(("target", "fault"), REFUSED, ids=lambda value: repr(value)[:40])
def test_refused_by_name(target: bytes, fault: Fault) -> None:
    with pytest.raises(HeadError) as refused:
        decoded_path(target, b"GET")
    assert refused.value.fault is fault


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"/", "/"),
        (b"/a/b.json?x=/../..//%2e", "/a/b.json"),
        (b"/a/", "/a/"),
        (b"/a?", "/a"),
        (b"/.well-known/x", "/.well-known/x"),
        (b"/..a/b", "/..a/b"),
        (b"/a%20b", "/a b"),
        (b"/m%C3%BCller", "/müller"),
        (b"/%61dmin", "/admin"),
        (b"/100%25", "/100%"),
        (b"/a:b@c,d;"[:-1], "/a:b@c,d"),
    ],
)
def test_the_one_reading(target: bytes, path: str) -> None:
    assert decoded_path(target, b"GET") == path


def test_the_asterisk_form_is_for_options() -> None:
    assert decoded_path(b"*", b"OPTIONS") == "*"


@given(st.binary(max_size=60))
def test_any_bytes_give_a_path_or_a_head_error(target: bytes) -> None:
    for method in (b"GET", b"OPTIONS"):
        for each in (target, b"/" + target, b"/%" + target):
            try:
                path = decoded_path(each, method)
            except HeadError:
                continue
            assert path == "*" or path.startswith("/")
            assert not {".", ".."} & set(path.split("/"))
            assert "//" not in path
            assert all(c.isprintable() or ord(c) >= 0x80 for c in path)


@given(st.text(st.sampled_from("abc%2e/.\\;5cf0"), max_size=24))
def test_no_spelling_leaves_the_tree(text: str) -> None:
    try:
        path = decoded_path(b"/safe/" + text.encode(), b"GET")
    except HeadError:
        return
    assert path.startswith("/safe/")
