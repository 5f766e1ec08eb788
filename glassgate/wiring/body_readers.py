"""Who may read the bodies of the log's entries in tile coordinates: facts and contents, not the leaves.

For people with a session who oversee or keep the stores; `glassgate log verify` reads this way. That they did is
an entry, one per session and minute: a verification asks for hundreds of bundles.
"""

import hashlib
from typing import Final

from aiohttp import web

from approvals.api.log_reading import LogReading
from approvals.errors import Refusal
from approvals.service import Approvals

__all__ = ["BodyReaders"]

ROLES: Final = frozenset({"overseer", "steward"})
_BUNDLE: Final = 256


class BodyReaders:
    def __init__(self, service: Approvals, reading: LogReading) -> None:
        self._service = service
        self._reading = reading

    async def may_read(self, request: web.Request) -> bool:
        """Whether the request's session may; that it does is durable in the log before this says yes."""
        given = request.headers.getall("Authorization", [])
        if len(given) != 1 or not given[0].startswith("Bearer ggs_") or len(given[0]) > 256:
            return False
        session = given[0].removeprefix("Bearer ")
        try:
            person = await self._service.whoami(session)
            if not ROLES & set(person.roles):
                return False
            await self._reading.watched(person, hashlib.sha256(session.encode()).hexdigest(), "bodies", _BUNDLE)
        except Refusal:
            return False  # no session, or the reading could not be recorded
        return True
