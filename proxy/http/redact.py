"""What of a request may stand in an entry: the target without recognised secrets, and the listed fields."""

import re
from typing import Final
from urllib.parse import unquote

from approvals.kinds import HttpContent
from proxy.http.head import RequestHead

__all__ = ["http_content"]

REDACTED: Final = "[redacted]"

_SECRET_WORDS: Final = ("token", "secret", "passw", "pwd", "apikey", "api_key", "api-key", "accesskey", "access_key")
_SECRET_NAMES: Final = frozenset({"sig", "signature", "auth", "authorization", "x-amz-signature", "x-amz-credential"})
_SUSPECT: Final = re.compile("|".join((*_SECRET_WORDS, "sig", "auth", "x-amz-credential")))
# Anchored at a word's beginning: without it a row of "eyJeyJ..." would cost the square of its length.
_OWN: Final = re.compile(r"ggk_[0-9a-z]{32}|ggs_[0-9A-Za-z_-]{16,}|(?<![\w.-])eyJ[\w-]{4,}\.[\w-]{4,}\.[\w-]{4,}")


def http_content(head: RequestHead) -> HttpContent:
    """The content of a request's entry. `redacted` names what was taken out."""
    target = head.target.decode("ascii", "backslashreplace")
    redacted: list[str] = []
    path, question, query = target.partition("?")
    if question:
        shown, names = _query(query)
        if names:
            target = f"{path}?{shown}"
            redacted.extend(f"query parameter {name}" for name in names)
    if ("ggk_" in target or "ggs_" in target or "eyJ" in target) and _OWN.search(target):
        target = _OWN.sub(REDACTED, target)
        redacted.append("a credential of ours in the target")
    return HttpContent(target=target, headers=head.shown, redacted=redacted)


def _query(query: str) -> tuple[str, list[str]]:
    """The query with the values of secret-looking parameters replaced, and those parameters' names."""
    lower = (unquote(query) if "%" in query else query).lower()
    if not _SUSPECT.search(lower):
        return query, []
    names: list[str] = []
    parts = query.split("&")
    for index, part in enumerate(parts):
        name, equals, value = part.partition("=")
        plain = unquote(name).lower()
        if equals and value and (plain in _SECRET_NAMES or any(word in plain for word in _SECRET_WORDS)):
            parts[index] = f"{name}={REDACTED}"
            names.append(name)
    return "&".join(parts), names
