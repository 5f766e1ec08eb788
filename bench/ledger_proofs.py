"""What proofs cost in trees of 10^4 to 10^8 entries, whose tiles are made up: nothing here needs a database.

All leaves of such a tree are equal, so every perfect subtree of one height has one root, and any tile can be made
without the ones below it. The hashing to be done, and so its cost, is that of a real tree.
"""

import time
from collections.abc import Callable
from random import Random

from ledger.merkle import inclusion_proof, leaf_hash, node_hash, subtree_root, verify_inclusion
from ledger.proof import node_reader
from ledger.tiles import HEIGHT, Resource

__all__ = ["proof_costs"]

SIZES = (10**4, 10**5, 10**6, 10**7, 10**8)
ROUNDS = 5


def proof_costs(proofs: int) -> dict[str, float]:
    """Microseconds to build and to verify one inclusion proof, per size; medians of rounds of `proofs` each."""
    result: dict[str, float] = {}
    leaf = leaf_hash(b"an entry")
    roots = [leaf]
    while len(roots) <= max(SIZES).bit_length():
        roots.append(node_hash(roots[-1], roots[-1]))

    def tile(resource: Resource) -> bytes:
        return roots[resource.level * HEIGHT] * resource.width

    for size in SIZES:
        # An odd size: the right edge is as ragged as it gets.
        size -= 1
        root = subtree_root(0, size, node_reader(size, tile))
        random = Random(size)
        places = [random.randrange(size) for _ in range(proofs)]
        made: list[list[bytes]] = []

        def build(size: int = size, places: list[int] = places, made: list[list[bytes]] = made) -> None:
            node = node_reader(size, tile)
            made[:] = [inclusion_proof(place, size, node) for place in places]

        def verify(
            size: int = size, places: list[int] = places, made: list[list[bytes]] = made, root: bytes = root
        ) -> None:
            for place, proof in zip(places, made, strict=True):
                if not verify_inclusion(place, size, leaf, proof, root):
                    raise AssertionError(f"entry {place} of {size} is not where its proof says")

        exponent = len(str(size))
        result[f"proof_build_us_1e{exponent}"] = _median_us(build, proofs)
        result[f"proof_verify_us_1e{exponent}"] = _median_us(verify, proofs)
        result[f"proof_hashes_1e{exponent}"] = max(map(len, made))
    return result


def _median_us(work: Callable[[], None], times: int) -> float:
    took = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        work()
        took.append(time.perf_counter() - begun)
    return round(sorted(took)[ROUNDS // 2] / times * 1e6, 1)
