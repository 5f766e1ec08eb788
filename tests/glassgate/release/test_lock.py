"""A lock is read whole or refused with the line."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassgate.release.lock import LockRefused, native, parse_lock
from tests.support.source_tree import ROOT

ONE = "1" * 64
TWO = "2" * 64


def test_a_lock_is_pins_with_their_hashes_by_name() -> None:
    text = f"""\
# a remark
Py_YAML==6.0.3 \\
    --hash=sha256:{TWO} \\
    --hash=sha256:{ONE}

cffi==2.1.1 ; platform_python_implementation != 'PyPy' --hash=sha256:{ONE}
"""
    cffi, yaml = parse_lock(text.encode(), "a.lock")
    assert cffi == ("cffi", "2.1.1", "platform_python_implementation != 'PyPy'", (ONE,))
    assert yaml == ("py-yaml", "6.0.3", "", (ONE, TWO))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no package is named in it"),
        ("# only a remark\n", "no package is named in it"),
        ("click==8.5.1\n", "line 1: click has no hash"),
        (f"click>=8 --hash=sha256:{ONE}\n", "line 1: expected name==version, got 'click>=8'"),
        (f"click @ file:///x --hash=sha256:{ONE}", "line 1: expected name==version"),
        ("\nclick==8 --hash=md5:11", "line 2: expected --hash=sha256:…, got '--hash=md5:11'"),
        (f"click==8 --hash=sha256:{ONE[1:]}", "expected --hash=sha256:"),
        (f"click==8 --hash=sha256:{ONE} --pre", "expected --hash=sha256:…, got '--pre'"),
        ("--pre\n", "line 1: expected name==version"),
        (f"a==1 --hash=sha256:{ONE}\nA==2 --hash=sha256:{ONE}", "line 2: a stands there twice"),
        (f"a==1 --hash=sha256:{ONE}\nb==1 \\", "line 2: b has no hash"),
    ],
)
def test_what_is_no_lock_is_refused_with_its_line(text: str, said: str) -> None:
    with pytest.raises(LockRefused) as refused:
        parse_lock(text.encode(), "a.lock")
    assert str(refused.value).startswith("a.lock: ")
    assert said in str(refused.value)


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(LockRefused, match=r"a\.lock: byte 2 is not ASCII"):
        parse_lock(b"ab\xff", "a.lock")
    with pytest.raises(LockRefused, match="larger than"):
        parse_lock(b"#" * (5 << 20), "a.lock")


@given(st.binary(max_size=200) | st.text(alphabet="a=1 \\\n-;#hsha256:", max_size=200).map(str.encode))
def test_any_bytes_give_pins_or_the_parsers_own_error(data: bytes) -> None:
    with contextlib.suppress(LockRefused):
        assert parse_lock(data, "x")


def test_native_is_what_has_more_files_than_a_source_and_one_wheel() -> None:
    pins = parse_lock((ROOT / "requirements.lock").read_bytes(), "requirements.lock")
    names = {pin.name for pin in native(pins)}
    assert {"cryptography", "msgspec", "uvloop", "asyncpg"} <= names
    assert not {"click", "structlog", "pyjwt"} & names


def test_every_installed_package_with_machine_code_is_among_them() -> None:
    """The lock does not say which wheels are native; what is installed here does, at least for this platform."""
    from importlib.metadata import distributions

    pins = parse_lock((ROOT / "requirements.lock").read_bytes(), "requirements.lock")
    locked, listed = {pin.name for pin in pins}, {pin.name for pin in native(pins)}
    compiled = {
        name
        for one in distributions()
        if (name := one.name.lower().replace("_", "-")) in locked
        and "Root-Is-Purelib: false" in (one.read_text("WHEEL") or "")
    }
    assert compiled
    assert compiled <= listed


def test_the_build_tools_are_those_of_the_development_lock_where_both_name_one() -> None:
    build, development = (
        {pin.name: pin.version for pin in parse_lock((ROOT / name).read_bytes(), name)}
        for name in ("requirements-build.lock", "requirements-dev.lock")
    )
    assert "hatchling" in build
    both = build.keys() & development.keys()
    assert {name: build[name] for name in both} == {name: development[name] for name in both}


def test_the_build_lock_names_no_host() -> None:
    assert b"://" not in (ROOT / "requirements-build.lock").read_bytes()
