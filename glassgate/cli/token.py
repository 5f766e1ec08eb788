"""token: a credential on stdout, for tools that glassgate does not start itself."""

import click

from glassgate.cli import access
from glassgate.cli.connect import dsn
from glassgate.cli.output import ago, remark, visible
from glassgate.cli.session import No, Session, command, now

FORMATS = ("bearer", "basic", "dsn")


@command()
@click.argument("store")
@click.option("--format", "form", type=click.Choice(FORMATS), help="bearer (HTTP), basic (user:key), dsn (PostgreSQL).")
@click.option("--grant", "grant_id", help="Use this grant instead of the one that lives longest.")
@click.option("--wait", is_flag=True, help="If the request is still pending, wait for the decision.")
def token(session: Session, store: str, form: str | None, grant_id: str | None, wait: bool) -> None:
    """Print a credential for STORE. Activates your grant if it was not active yet.

    bearer: a token for `Authorization: Bearer`, good for 15 minutes. basic: `user:key` for tools that only know
    passwords, good as long as the grant. dsn: the same as a PostgreSQL connection URI.
    """
    api = session.api
    info = access.connection(api, store)
    form = form or ("bearer" if info["protocol"] == "http" else "dsn")
    if form == "bearer" and info["protocol"] == "postgres":
        raise No("PostgreSQL has no place for a token. Use --format dsn or basic.")
    if form == "dsn" and info["protocol"] == "http":
        raise No(f"{visible(store)} is an HTTP store. Use --format bearer or basic.")
    grant = access.live_grant(session, api, store, grant_id, wait=wait)
    if form == "bearer":
        minted = access.mint(api, grant)
        session.answer(minted, minted["token"])
        remark(f"This token ends {ago(minted['expires_at'], now())}; the grant {ago(grant['ends_at'], now())}.")
        return
    key = access.make_key(api, grant)
    text = dsn(info, key, access.ca_file(session, info)) if form == "dsn" else f"{key.login}:{key.secret}"
    session.answer({"format": form, form: text, "grant": grant["id"], "ends_at": grant["ends_at"]}, text)
    remark(f"This contains the key. It ends with {grant['id']}, {ago(grant['ends_at'], now())}.")
