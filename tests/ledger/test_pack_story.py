"""The page of a pack shows what it holds; and entries that are true one by one may tell no story."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from glassgate.packs import Asked
from ledger.encoding import decode
from ledger.entry import Draft, Part
from ledger.pack.contents import Scope, pack_bytes
from ledger.pack.page import page
from tests.ledger.pack_world import STORE_DEF, PackWorld, faults, kind_of, without


@pytest.fixture(scope="module")
def world() -> PackWorld:
    return PackWorld()


@pytest.fixture(scope="module")
def small() -> PackWorld:
    """With one access, for what is done to every byte."""
    return PackWorld(accesses=1)


# the page


def test_the_page_is_that_of_the_data(small: PackWorld) -> None:
    pack = small.collected()
    lying = pack.page.replace(b"Evidence pack", b"Nothing to see")
    assert "index.html: is not the page that this pack's data makes" in faults(
        small.check(pack_bytes(replace(pack, page=lying)))
    )


def test_the_page_shows_what_people_typed_as_text(small: PackWorld) -> None:
    text = small.collected().page.decode()
    assert "default-src &#x27;none&#x27;" in text or "default-src 'none'" in text
    for forbidden in ("<script", "<b>is", "http:", "https:", "javascript:", "src=", "href=", "onerror"):
        assert forbidden not in text
    assert "glassgate log" not in text and "$ " not in text  # no command to run: tools come from elsewhere
    held = small.collected().entries[-1]
    evil = b'{"a":"\xe2\x80\xae<img src=x onerror=alert(1)>"}'
    made = page("o", "m", Scope("grant", '"><script>', 0, 1), b"<x>", [replace(held, facts=Part(evil, b""))]).decode()
    assert "<img" not in made and "<script" not in made and "\u202e" not in made and "\\u{202e}" in made


# the story


def _story(change: Callable[[PackWorld], None], asked: Asked = Asked("grant", "gr_1")) -> str:  # noqa: B008
    world = PackWorld(accesses=1, summed=False)
    change(world)
    return faults(world.check(world.pack(asked)))


def test_accesses_that_the_grant_does_not_carry() -> None:
    def other(**changed: Any) -> Callable[[PackWorld], None]:
        def write(world: PackWorld) -> None:
            intent, _ = world.access("gr_1", 7)
            assert isinstance(intent.facts, dict)
            world.write(world.proxies[0], msgspec.structs.replace(intent, facts=intent.facts | changed))

        return write

    def late(world: PackWorld) -> None:
        world.now += timedelta(hours=2)
        world.write(world.proxies[0], *world.access("gr_1", 7))

    assert _story(lambda world: None) == ""
    assert "did write; the grant is for read" in _story(other(actions=["write"]))
    assert "another person's, store's or request's" in _story(other(subject="eve"))
    assert "the grant was open" in _story(late)


def test_a_grant_that_nobody_decided() -> None:
    def issue(**changed: Any) -> Callable[[PackWorld], None]:
        def write(world: PackWorld) -> None:
            facts = next(
                decode(entry.facts.data) for entry in world.log.entries if entry.stub.kind == "grant.issued"
            ) | {"grant": "gr_9"}
            world.write(
                world.approvals,
                Draft("grant.issued", facts | changed, grant=facts["decision"], store_def=STORE_DEF),
            )

        return write

    nine = Asked("grant", "gr_9")
    assert "eve is said to have approved" in _story(issue(approvers=["eve"]), nine)
    assert "ada is said to have approved" in _story(issue(approvers=["ada"]), nine)
    assert "one or more distinct people" in _story(issue(approvers=[]), nine)
    assert "the grant is wider than what olga approved" in _story(issue(duration_s=3000), nine)
    assert "the grant is wider than the request" in _story(issue(actions=["ddl"]), nine)
    assert "another person's" in _story(issue(subject="eve"), nine)
    assert "decision's digest is not that" in _story(issue(decision="00" * 32), nine)
    assert "is not in the pack" in _story(issue(request="req_404"), nine)


def test_a_policy_that_is_not_there(world: PackWorld) -> None:
    pack = world.collected()
    said = faults(world.check(pack_bytes(without(pack, lambda held: kind_of(held) == "policy.changed"))))
    assert "the policy in force at this entry" in said


def test_a_request_whose_digest_is_not_its_own() -> None:
    def write(world: PackWorld) -> None:
        facts = next(decode(entry.facts.data) for entry in world.log.entries if entry.stub.kind == "request.created")
        said = {"purpose": "another one", "ticket": "INC-42"}
        world.write(world.approvals, Draft("request.created", facts | {"request": "req_9"}, said, store_def=STORE_DEF))
        broken = facts | {"request": "req_9", "expires_at": "soon"}
        world.write(world.approvals, Draft("request.created", broken, said, store_def=STORE_DEF))

    said = _story(write, Asked("request", "req_9"))
    assert "the request's digest is not that of what it says" in said
    assert "cannot be made again" in said
