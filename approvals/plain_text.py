"""Text that people typed, made safe to show to other people: one normal form, nothing invisible, nothing that
reorders what stands around it.

A purpose is read by the person who decides. Bidirectional controls (as in CVE-2021-42574), escape sequences and
invisible letters would let it say one thing to the eye and another to the record, so they are refused by name,
not stripped: the writer should know.
"""

import unicodedata
from typing import Final

from approvals.errors import Fault

__all__ = ["check_line", "check_text", "quoted"]

# Joiners: letters of Indic scripts and emoji need them, and they neither hide nor reorder anything.
_JOINERS: Final = frozenset("\u200c\u200d")
_REFUSED: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def check_text(field: str, text: object, max_chars: int, faults: list[Fault], *, required: bool = False) -> str:
    """`text` in NFC with `\\n` line ends and without white space around it; "" (and a fault) when it may not stand."""
    if not isinstance(text, str):
        faults.append(Fault(field, "expected text"))
        return ""
    if len(text) > 2 * max_chars:  # before any work is done on it
        faults.append(Fault(field, f"at most {max_chars} characters, got {len(text)}"))
        return ""
    clean = unicodedata.normalize("NFC", text.replace("\r\n", "\n")).strip()
    if required and not clean:
        faults.append(Fault(field, "must not be empty"))
    if len(clean) > max_chars:
        faults.append(Fault(field, f"at most {max_chars} characters, got {len(clean)}"))
        return ""
    bad = _first_refused(clean, "\n\t")
    if bad:
        faults.append(Fault(field, f"contains {bad}, which is invisible or reorders text"))
        return ""
    return clean


def check_line(field: str, text: object, max_chars: int, faults: list[Fault]) -> str:
    """One line that is a name: not empty, no white space around it, no control or invisible character."""
    if not isinstance(text, str) or not text:
        faults.append(Fault(field, "must not be empty"))
        return ""
    if len(text) > max_chars:
        faults.append(Fault(field, f"at most {max_chars} characters, got {len(text)}"))
        return ""
    bad = _first_refused(text, "")
    if bad:
        faults.append(Fault(field, f"contains {bad}, which is invisible or reorders text"))
        return ""
    if text != text.strip() or unicodedata.normalize("NFC", text) != text:
        faults.append(Fault(field, f"{quoted(text)} has white space around it, or is not in Unicode normal form C"))
        return ""
    return text


def quoted(text: object) -> str:
    """`text` as it may stand in a message: quoted, escaped to ASCII, cut at 60 characters."""
    if not isinstance(text, str):
        return "that"
    return ascii(text if len(text) <= 60 else text[:60] + "...")


def _first_refused(text: str, allowed: str) -> str:
    for letter in text:
        if letter in allowed or letter in _JOINERS:
            continue
        if unicodedata.category(letter) in _REFUSED:
            return f"U+{ord(letter):04X}"
    return ""
