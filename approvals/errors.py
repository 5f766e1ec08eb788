"""What a person is told when the answer is no: a code, a text that is safe to show, a cause that is not."""

from collections.abc import Sequence
from dataclasses import dataclass

from approvals.reasons import TEXT, Reason

__all__ = ["Fault", "Refusal"]


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with an input: where (a field's name), and what was expected and got, for a person."""

    field: str
    text: str


class Refusal(Exception):
    """Refused for `reason`. `public` is shown to the person; `cause` goes to our own log only."""

    def __init__(self, reason: Reason, public: str = "", *, faults: Sequence[Fault] = (), cause: str = "") -> None:
        self.reason = reason
        self.public = public or TEXT[reason]
        self.faults = tuple(faults)
        self.cause = cause
        super().__init__(f"{reason}: {self.public}" + (f" ({cause})" if cause else ""))
