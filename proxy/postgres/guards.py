"""What the store may never report about a session; pure.

The statement judge and the store must read a text alike: with standard_conforming_strings off the parser here
sees one SELECT where the store runs a second statement. Reports come at the end of a query, so this detects; the
statement judge refuses the settings that it can see.
"""

from typing import Final

__all__ = ["alarming"]

_PINNED: Final = {"standard_conforming_strings": "on", "client_encoding": "UTF8"}
_CONSTANT: Final = ("is_superuser", "session_authorization")


def alarming(name: str, value: str, greeting: dict[str, str]) -> str:
    """Why a session must end at the report that `name` is `value`, or "". `greeting` is what the login reported."""
    if name in _PINNED and value.upper() != _PINNED[name].upper():
        return f"{name} was changed, which makes statements unreadable to the gate"
    if name in _CONSTANT and value != greeting.get(name, value):
        return f"{name} was changed"
    return ""
