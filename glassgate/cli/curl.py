"""curl: the user's own curl, with a fresh token that never stands in argv."""

import os
from typing import Any, Final
from urllib.parse import urlsplit

import click

from glassgate.cli import access
from glassgate.cli.connect import run
from glassgate.cli.http import check_server, is_loopback
from glassgate.cli.output import visible
from glassgate.cli.session import No, Session, command

__all__ = ["arguments", "config_text", "curl"]

MAX_CONFIG_BYTES: Final = 16 * 1024
"""What a pipe takes without a reader on every system we run on: the text is written before curl exists."""


@command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("store")
@click.argument("path")
@click.argument("rest", nargs=-1, type=click.UNPROCESSED, metavar="[CURL OPTIONS]...")
@click.option("--grant", "grant_id", help="Use this grant instead of the one that lives longest.")
@click.option("--wait", is_flag=True, help="If the request is still pending, wait for the decision.")
def curl(session: Session, store: str, path: str, rest: tuple[str, ...], grant_id: str | None, wait: bool) -> None:
    """Run curl through the gate: glassgate curl crm-api /people.json -s

    Options of glassgate come before STORE, options of curl after PATH. curl's exit status is ours. Name no other
    address among curl's options: curl would send the token there as well.
    """
    if not path.startswith("/"):
        raise click.UsageError(f'PATH starts with "/", got "{path}"')
    api = session.api
    info = access.connection(api, store)
    if info["protocol"] != "http":
        raise No(f"{visible(store)} is a PostgreSQL store. Use:\n  {session.command_line('connect', store)}")
    grant = access.live_grant(session, api, store, grant_id, wait=wait)
    minted = access.mint(api, grant)
    reader = _pipe(config_text(minted["token"]))
    run(("curl", *arguments(info, path, access.ca_file(session, info), reader), *rest), dict(os.environ))


def config_text(token: str) -> bytes:
    """A curl config file with the token as a header."""
    if not all(letter.isascii() and (letter.isalnum() or letter in "-_.") for letter in token):
        # In a config file a quote or a line feed would begin another option.
        raise No("the gate sent something that is no token.")
    text = f'header = "Authorization: Bearer {token}"\n'.encode()
    if len(text) > MAX_CONFIG_BYTES:
        raise No("the gate sent a token that is too large.")
    return text


def arguments(info: dict[str, Any], path: str, root: str, reader: int) -> list[str]:
    """curl's own arguments. `reader` is the descriptor from which it reads the token."""
    base = check_server(info["base_url"])
    found = ["--config", f"/dev/fd/{reader}", "--globoff", "--proto", "=http,https"]
    parts = urlsplit(base)
    if parts.scheme == "https" and root != "system":
        found += ["--cacert", root]
    if is_loopback(parts.hostname or ""):
        # An http_proxy in the environment would be handed the token to reach this very machine.
        found += ["--noproxy", parts.hostname or ""]
    return [*found, base + path]


def _pipe(data: bytes) -> int:
    """A descriptor from which `data` can be read once, by the program that this process becomes. Standard input
    stays the user's, and no file is left behind."""
    reader, writer = os.pipe()
    os.write(writer, data)
    os.close(writer)
    os.set_inheritable(reader, True)
    return reader
