"""How long a regular expression may search, at worst: bounded before it is ever used.

Python's `re` backtracks, so `([A-Z]+-?)+[0-9]+` takes seconds on 26 letters and for ever on 64, and whoever may type
a ticket could stop the gate with it, revocations included. A pattern is therefore priced when it is adopted.
"""

import re
from typing import Final

__all__ = ["LONGEST", "TOO_DEAR", "ways"]

LONGEST: Final = 64
"""Characters of the longest text that is matched."""
TOO_DEAR: Final = 500_000
"""Ways beyond which a pattern is refused: fractions of a second in the worst case."""

_TOKEN: Final = re.compile(
    r"\\[\s\S]"  # an escaped character
    r"|\[\^?\]?(?:\\[\s\S]|[^\]\\])*\]"  # a set
    r"|\{(?:[0-9]+(?:,[0-9]*)?|,[0-9]+)\}[?+]?|[*+?][?+]?"  # a repetition
    r"|\(\??|[\s\S]"  # a group begins, with `(?` of its kind; anything else
)


def ways(pattern: str) -> int:
    """An upper bound on the ways in which `pattern`, a valid regular expression, can be laid over a text of LONGEST
    characters; at most TOO_DEAR, which stands for "or more".

    Choices multiply: how often something is repeated, which of several alternatives it is; and a repeated group has
    its own choices each time. Lookarounds and flags are priced as the groups that they are spelled like.
    """
    groups = [1]
    last = 1  # of what a repetition that comes next would repeat; not yet in its group's price
    for word in _TOKEN.findall(pattern):
        lowest, highest = _times(word)
        if highest >= 0:
            last = _repeated(last, lowest, highest)
            continue
        groups[-1] = min(groups[-1] * last, TOO_DEAR)
        last = 1
        if word[0] == "(":
            groups.append(1)
        elif word == ")" and len(groups) > 1:
            last = groups.pop()
        elif word == "|":
            groups[-1] = min(groups[-1] * 2, TOO_DEAR)
    for price in groups:
        last = min(last * price, TOO_DEAR)
    return last


def _repeated(price: int, lowest: int, highest: int) -> int:
    """The price of something that has `price` and comes `lowest` to `highest` times."""
    each: int = min(price, TOO_DEAR) ** highest
    return min((highest - lowest + 1) * each, TOO_DEAR)


def _times(word: str) -> tuple[int, int]:
    """How often `word` repeats what stands before it; (0, -1) for one that is no repetition."""
    if word[0] == "{" and len(word) > 1:
        lowest, comma, highest = word.rstrip("?+").strip("{}").partition(",")
        least = min(int(lowest or 0), LONGEST)
        return least, max(least, min(int(highest or LONGEST), LONGEST)) if comma else least
    return {"*": (0, LONGEST), "+": (1, LONGEST), "?": (0, 1)}.get(word[0], (0, -1))
