"""Who calls: exactly one session token, in one header."""

import re
from typing import Final

from aiohttp import web

from approvals.errors import Refusal
from approvals.identity.subject import Person
from approvals.reasons import Reason
from approvals.service import Approvals

__all__ = ["authenticated", "reads_everything"]

_BEARER: Final = re.compile(r"Bearer (ggs_[A-Za-z0-9_-]{1,128})", re.ASCII)


async def authenticated(request: web.Request, service: Approvals) -> tuple[str, Person]:
    """The session token and whose it is. SESSION_UNKNOWN, SEVERAL_CREDENTIALS."""
    given = request.headers.getall("Authorization", [])
    if not given:
        raise Refusal(Reason.SESSION_UNKNOWN)
    if len(given) > 1:
        raise Refusal(Reason.SEVERAL_CREDENTIALS)
    match = _BEARER.fullmatch(given[0])
    if match is None:
        raise Refusal(Reason.SESSION_UNKNOWN)
    return match[1], await service.whoami(match[1])


def reads_everything(person: Person) -> bool:
    """Whether the whole log is open to this person."""
    return not {"overseer", "steward"}.isdisjoint(person.roles)
