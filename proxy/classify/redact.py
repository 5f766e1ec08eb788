"""Secrets out of SQL text before it is written down; pure.

Works on the text, not on the parse, so that it covers texts that do not parse. What it recognises: a string
after the word PASSWORD (roles, user mappings, `password = '...'`), and `password=...` inside connection strings.
A recognised secret is replaced whole; what is not recognised stays, and nothing here claims otherwise.
"""

import re
from typing import Final

__all__ = ["WITHHELD", "redact"]

WITHHELD: Final = "'[redacted]'"

# Possessive and bounded: a client chooses the text, and a pattern that tries a gap in every way, or looks for the end
# of a comment from every word, would hold up the whole gate for the square or the cube of its length.
_GAP: Final = r"(?:\s++|--[^\n]{0,100}+\n|/\*(?:[^*]|\*(?!/)){0,100}+\*/){0,4}+"
_STRING: Final = (
    r"(?:[eE]'(?:[^'\\]|\\.|'')*+(?:'|\\?\Z)|(?:[uU]&|[nNbBxX])?'(?:[^']|'')*+(?:'|\Z)"
    r"|\$(\w*+)\$.*?(?:\$\1\$|\Z))"
)
_PASSWORD: Final = re.compile(rf"(?is)(\bpassword\"?{_GAP}(?::=|=>|=)?{_GAP}){_STRING}")
_LITERAL: Final = re.compile(r"(?s)'(?:[^'\\]|''|\\.)*+(?:'|\\?\Z)|\$(\w*+)\$.*?(?:\$\1\$|\Z)")
_CONNECTION: Final = re.compile(r"(?i)(\b(?:password|passwd|sslpassword)\s*+=\s*+)(?:''(?:[^'])*''|[^\s'$]+)")
_URL: Final = re.compile(r"(?i)(\bpostgres(?:ql)?://[^\s:/@']{0,128}+:)[^\s@']{0,256}+@")


def redact(text: str) -> tuple[str, tuple[str, ...]]:
    """The text without its recognised secrets, and what was taken out, in words."""
    lowered = text.lower()
    found: list[str] = []
    if "passw" in lowered:
        text, count = _PASSWORD.subn(rf"\1{WITHHELD}", text)
        if count:
            found.append("password literal")
        text, count = _within_literals(text)
        if count:
            found.append("password in a connection string")
    if "://" in lowered:
        text, count = _URL.subn(r"\1[redacted]@", text)
        if count:
            found.append("password in a connection URL")
    return text, tuple(found)


def _within_literals(text: str) -> tuple[str, int]:
    """Only inside strings: `WHERE password = x` is SQL that the record must keep."""
    total = 0

    def clean(match: re.Match[str]) -> str:
        nonlocal total
        cleaned, count = _CONNECTION.subn(r"\1[redacted]", match.group())
        total += count
        return cleaned

    return _LITERAL.sub(clean, text), total
