"""Durations as people type them: 90s, 30m, 1h, 1h30m."""

import re
from typing import Any, Final

import click

__all__ = ["DURATION", "seconds"]

_FORM: Final = re.compile(r"(?:([0-9]{1,4})h)?(?:([0-9]{1,5})m)?(?:([0-9]{1,6})s)?")


def seconds(text: str) -> int:
    """`1h30m` as 5400. Raises ValueError for anything that is not a positive duration in that form."""
    found = _FORM.fullmatch(text)
    if found is None or not text:
        raise ValueError(f'expected a duration like 30m, 1h or 1h30m, got "{text}"')
    hours, minutes, rest = (int(part or 0) for part in found.groups())
    total = hours * 3600 + minutes * 60 + rest
    if total == 0:
        raise ValueError(f'expected a duration longer than nothing, got "{text}"')
    return total


class _Duration(click.ParamType[int]):
    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            return seconds(value)
        except ValueError as cause:
            self.fail(str(cause), param, ctx)


DURATION: Final = _Duration()
