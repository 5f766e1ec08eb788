"""Times as records and digests spell them: RFC 3339, UTC, always six digits of a second, `Z`."""

from datetime import UTC, datetime

__all__ = ["rfc3339"]


def rfc3339(moment: datetime) -> str:
    """One spelling per instant, so that equal times give equal digests. `moment` must be aware."""
    if moment.tzinfo is None:
        raise ValueError("a time without a zone names no instant")
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
