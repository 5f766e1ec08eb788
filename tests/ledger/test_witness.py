"""add-checkpoint: every status, in the order in which they are decided."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from ledger.checkpoint import Checkpoint, sign_checkpoint
from ledger.merkle import consistency_proof, leaf_hash, root_of
from ledger.note import COSIGNATURE, Note, Signer, Verifier, open_note, parse_note, parse_signatures
from ledger.witness import Cosigned, RequestRefused, Response, add_checkpoint, parse_request, request_bytes

ORIGIN = "a.example/log"
LOG = Signer(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
WITNESS = Signer("w.example", Ed25519PrivateKey.from_private_bytes(bytes(32)), COSIGNATURE)
LEAVES = [leaf_hash(b"%d" % i) for i in range(20)]
NOW = 1_800_000_000


def _node(height: int, index: int) -> bytes:
    return root_of(LEAVES[index << height : (index + 1) << height])


def _note(size: int, root: bytes | None = None, signer: Signer = LOG, origin: str = ORIGIN) -> bytes:
    return sign_checkpoint(Checkpoint(origin, size, root_of(LEAVES[:size]) if root is None else root), signer)


def _request(old: int, new: int) -> bytes:
    return request_bytes(old, consistency_proof(min(old, new), new, _node), _note(new))


def _ask(data: bytes, state: Cosigned | None = None, keys: tuple[Verifier, ...] = (LOG.verifier,)) -> Response:
    states = {} if state is None else {ORIGIN: state}
    return add_checkpoint(data, {ORIGIN: keys}, states, WITNESS, NOW)


def _state(size: int) -> Cosigned:
    return Cosigned(size, root_of(LEAVES[:size]))


def test_a_first_contact_and_every_growth_is_cosigned() -> None:
    state = None
    for size in (0, 1, 7, 8, 15, 20):
        response = _ask(_request(state.size if state else 0, size), state)
        assert (response.status, response.state) == (200, _state(size))
        state = response.state
        line = response.body.decode()
        note = parse_note(_note(size))
        [(_, time)] = open_note(Note(note.text, parse_signatures(line)), [WITNESS.verifier])
        assert time == NOW


def test_the_same_tree_again_is_a_heartbeat() -> None:
    response = _ask(_request(7, 7), _state(7))
    assert (response.status, response.state) == (200, _state(7))


@pytest.mark.parametrize(
    ("data", "state", "status"),
    [
        (b"", None, 400),
        (b"old 0\n", None, 400),
        (b"old -1\n\n" + _note(5), None, 400),
        (b"old 01\n\n" + _note(5), None, 400),
        (b"old 0\nAAAA\n\n" + _note(5), None, 400),
        (b"old 0\n\n" + _note(5)[:-2], None, 400),
        (request_bytes(0, [bytes(32)] * 64, _note(5)), None, 400),
        (request_bytes(6, [], _note(5)), _state(6), 400),
        (request_bytes(0, [], _note(5, origin="b.example/log")), None, 404),
        (request_bytes(0, [], _note(5, signer=Signer(ORIGIN, Ed25519PrivateKey.generate()))), None, 403),
        (request_bytes(0, [], _note(5).replace(b"\n5\n", b"\n6\n")), None, 403),
        (_request(5, 9), _state(7), 409),
        (_request(0, 9), _state(7), 409),
        (request_bytes(7, [], _note(9)), _state(7), 422),
        (request_bytes(7, [bytes(32)], _note(9)), _state(7), 422),
        (request_bytes(0, [bytes(32)], _note(9)), None, 422),
        (request_bytes(0, [], _note(0, bytes(32))), None, 422),
        (request_bytes(7, [], _note(7, bytes(32))), _state(7), 422),
    ],
)
def test_refusals(data: bytes, state: Cosigned | None, status: int) -> None:
    response = _ask(data, state)
    assert response.status == status
    assert response.state is None
    if status == 409:
        assert (response.body, response.content_type) == (b"7\n", "text/x.tlog.size")


def test_two_signed_roots_for_one_size_are_evidence() -> None:
    assert _ask(request_bytes(7, [], _note(7, bytes(32))), _state(7)).evidence
    assert not _ask(request_bytes(7, [bytes(32)], _note(9)), _state(7)).evidence


def test_a_log_without_keys_is_unknown() -> None:
    assert _ask(_request(0, 5), keys=()).status == 404


@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_refused(data: bytes) -> None:
    for candidate in (data, b"old 0\n" + data + b"\n\n" + _note(5)):
        try:
            parse_request(candidate)
        except RequestRefused:
            assert _ask(candidate).status == 400
