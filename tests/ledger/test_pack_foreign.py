"""Packs and proofs in foreign hands: Go's own packages run exactly the program of the documentation."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ledger.pack.archive import read_archive
from tests.ledger.pack_world import PackWorld

PAGE = Path(__file__).parents[2] / "docs" / "evidence-packs.md"
MODULE = Path(__file__).parent / "go_verifier"


def _program() -> str:
    [program] = re.findall(r"^```go\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return str(program)


def test_the_program_is_short_enough_to_read() -> None:
    assert len(_program().splitlines()) <= 60


def _built(folder: Path) -> Path:
    (folder / "main.go").write_text(_program(), encoding="utf-8")
    for name in ("go.mod", "go.sum"):
        shutil.copy(MODULE / name, folder)
    environment = {"HOME": str(folder), "PATH": os.environ["PATH"], "CGO_ENABLED": "0"}
    if Path("/usr/share/gocode/src/golang.org/x/mod").is_dir():
        environment |= {"GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOPROXY": "off"}
    environment |= {name: value for name, value in os.environ.items() if name.startswith("GO") or name == "HOME"}
    built = subprocess.run(
        ["go", "build", "-o", "prove", "main.go"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=110,
    )
    if built.returncode and "dial tcp" in built.stderr:
        pytest.skip("golang.org/x/mod is not installed and cannot be fetched")
    assert built.returncode == 0, built.stderr
    return folder / "prove"


@pytest.mark.needs("go")
def test_the_documentations_program_checks_every_entry_of_a_pack(tmp_path: Path) -> None:
    world = PackWorld(filler=300)
    program = _built(tmp_path)
    members = read_archive(world.pack())
    leaf, proof = tmp_path / "leaf", tmp_path / "proof"

    def run(leaf_bytes: bytes, proof_bytes: bytes, vkey: str = world.log.signer.verifier.vkey) -> tuple[int, str]:
        leaf.write_bytes(leaf_bytes)
        proof.write_bytes(proof_bytes)
        done = subprocess.run([program, vkey, leaf, proof], capture_output=True, text=True, timeout=20)
        return done.returncode, done.stdout

    size = len(world.log.entries)
    for name in [name for name in members if name.startswith("proofs/")]:
        index = name.removeprefix("proofs/").removesuffix(".tlog-proof")
        body = members[f"entries/{index}.leaf"]
        assert run(body, members[name]) == (0, f"entry {index} of {size}: {body.decode()}\n")
    flipped = bytes((body[0] ^ 1,)) + body[1:]
    assert run(flipped, members[name])[0] == 1
    assert run(body, re.sub(rb"index [0-9]+", b"index %d" % (int(index) ^ 1), members[name]))[0] == 1
    assert run(body, members[name][:-9] + b"A" + members[name][-8:])[0] == 0  # in the witness's line, which it ignores
    log_line = members[name].index("— test.example".encode()) + 40
    assert run(body, members[name][:log_line] + b"AAAA" + members[name][log_line + 4 :])[0] == 1
    assert run(body, members[name], PackWorld().log.signer.verifier.vkey)[0] == 1


@pytest.mark.needs("openssl")
def test_openssl_opens_a_commitment(tmp_path: Path) -> None:
    world = PackWorld(accesses=1)
    members = read_archive(world.pack())
    (tmp_path / "facts").write_bytes(members["entries/0.facts"])
    key = members["entries/0.facts-blind"].hex()
    done = subprocess.run(
        ["openssl", "dgst", "-sha256", "-mac", "HMAC", "-macopt", f"hexkey:{key}", tmp_path / "facts"],
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.stdout.split("= ")[1].strip() == world.log.entries[0].stub.facts
