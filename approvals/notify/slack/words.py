"""How things are said in Slack: durations, times, names of what happened; and text that stays text.

Slack's mrkdwn brings `<!channel>`, `<@U…>` and `<url|label>` to life. Replacing `&`, `<` and `>` disarms those;
`* _ ~ \\`` stay live, so text that people typed goes into plain_text objects and only our own words into mrkdwn
(docs.slack.dev/messaging/formatting-message-text).
"""

import re
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

__all__ = ["at", "clipped", "duration", "duration_s", "escaped", "listed", "plain", "short_digest"]

_DURATION: Final = re.compile(r"(?:([0-9]{1,3})h)?(?:([0-9]{1,4})m(?:in)?)?")
# Characters that reorder or hide what is around them: an approver must read what was typed, in that order.
_DECEIVING: Final = frozenset(
    [*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C, 0x200B, 0x2060, 0xFEFF, 0x00AD]
)


def escaped(text: str) -> str:
    """Text for a mrkdwn object that brings no mention, link or broadcast to life."""
    return plain(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def plain(text: str) -> str:
    """Text with its invisible and direction-changing characters shown as `\\u202e`, line breaks kept."""
    return "".join(_visible(character) for character in text)


def _visible(character: str) -> str:
    if character in "\n\t":
        return character
    if ord(character) in _DECEIVING or unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp"):
        return f"\\u{ord(character):04x}"
    return character


def clipped(text: str, most: int) -> tuple[str, bool]:
    """At most that many characters, and whether anything was left out."""
    return (text, False) if len(text) <= most else (text[: most - 1] + "…", True)


def duration(seconds: int) -> str:
    """`90 min` stays `1 h 30 min`; nothing is rounded away."""
    hours, rest = divmod(seconds, 3600)
    minutes, rest = divmod(rest, 60)
    parts = [f"{hours} h"] if hours else []
    parts += [f"{minutes} min"] if minutes else []
    parts += [f"{rest} s"] if rest or not parts else []
    return " ".join(parts)


def duration_s(text: str) -> int | None:
    """Seconds of `1h`, `30m`, `1h30m`, `90min`; None when it is spelled otherwise."""
    match = _DURATION.fullmatch(text.strip().lower())
    if not match or not text.strip():
        return None
    seconds = int(match[1] or 0) * 3600 + int(match[2] or 0) * 60
    return seconds or None


def at(moment: datetime) -> str:
    """A time as everybody in two organisations reads it alike."""
    return moment.astimezone(UTC).strftime("%d %b %Y, %H:%M UTC")


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    if len(names) <= 1:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def short_digest(digest: str) -> str:
    """Enough of it for two people to see that they speak of the same request."""
    return digest[:12]
