"""coverage: what a record captures and what not, per store, without embellishment."""

from textwrap import fill
from typing import Any, Final

from glassgate.cli import access
from glassgate.cli.output import visible
from glassgate.cli.session import Session, command

WIDTH: Final = 100

CAPTURED: Final = {
    "http": "every request that reached the gate, granted or refused: method, path, query, headers (secrets redacted), "
    "status, bytes both ways, who, when, under which grant. Answers are counted, not kept.",
    "postgres": "every statement that reached the gate, granted or refused: its text and bound parameters (secrets "
    "redacted), tables, rows and bytes returned, who, when, under which grant. Results are counted, not kept.",
}
NOT_CAPTURED: Final = {
    "http": "what the store does inside, and what is done at the store without the gate.",
    "postgres": "what functions, triggers and views do inside the store, and what is done there without the gate.",
}
NEVER: Final = "What people do with an answer once they have it: copies, screenshots, a shared session."
PLACEMENT: Final = {
    "L0": "all on one machine: a record of what happened, and no protection against whoever runs it",
    "L1": "roles apart, all run by the same operator: root on a proxy still holds the store's credential",
    "L2": "proxies and credentials on hosts that the overseer or a third party runs",
    "L3": "the store itself admits only certificates of the overseer's CA",
}


@command()
def coverage(session: Session) -> None:
    """Say what a record captures, and what not."""
    api = session.api
    stores = [
        {
            "store": one["name"],
            "protocol": one["protocol"],
            "placement": (placement := access.connection(api, one["name"])["placement"]),
            "placement_means": PLACEMENT.get(placement, ""),
            "captured": CAPTURED[one["protocol"]],
            "not_captured": NOT_CAPTURED[one["protocol"]],
        }
        for one in api.get("/stores")["stores"]
    ]
    session.answer({"stores": stores, "never_captured": NEVER}, _shown(stores))


def _shown(stores: list[dict[str, Any]]) -> str:
    blocks = [
        "\n".join(
            [
                visible(one["store"]),
                _wrapped("placement", f"{one['placement']}: {one['placement_means']}"),
                _wrapped("captured", one["captured"]),
                _wrapped("not captured", one["not_captured"]),
            ]
        )
        for one in stores
    ]
    return "\n\n".join([*blocks, f"Captured nowhere: {NEVER}"])


def _wrapped(name: str, text: str) -> str:
    return fill(visible(text), WIDTH, initial_indent=f"  {name:<12}  ", subsequent_indent=" " * 16)
