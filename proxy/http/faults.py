"""What can be wrong with a head, by name: the closed list that refusals, records and tests share."""

from enum import StrEnum
from typing import Final

from approvals.reasons import Reason

__all__ = ["STATUS", "Fault", "HeadError", "reason_of"]


class Fault(StrEnum):
    # the head as a whole
    HEAD_TOO_LARGE = "head_too_large"
    TOO_MANY_FIELDS = "too_many_fields"
    LINE_END = "line_end"  # a CR or LF that is not part of CRLF
    CONTROL_CHARACTER = "control_character"
    # request line, RFC 9112 §3
    REQUEST_LINE = "request_line"
    METHOD_REFUSED = "method_refused"
    VERSION = "version"
    # target, RFC 9112 §3.2
    TARGET_FORM = "target_form"  # absolute-form, authority-form, misplaced *
    TARGET_TOO_LONG = "target_too_long"
    TARGET_CHARACTER = "target_character"
    FRAGMENT = "fragment"
    PERCENT_ENCODING = "percent_encoding"
    ENCODED_DELIMITER = "encoded_delimiter"  # %2f, %5c, %00 and other controls
    DOUBLE_ENCODING = "double_encoding"
    DOT_SEGMENT = "dot_segment"
    EMPTY_SEGMENT = "empty_segment"
    BACKSLASH = "backslash"
    PATH_PARAMETER = "path_parameter"
    # status line, RFC 9112 §4
    STATUS_LINE = "status_line"
    # fields, RFC 9112 §5
    FIELD_SYNTAX = "field_syntax"
    OBS_FOLD = "obs_fold"
    FIELD_UNDERSCORE = "field_underscore"
    FIELD_8BIT = "field_8bit"
    HOST_MISSING = "host_missing"
    HOST_DUPLICATE = "host_duplicate"
    HOST_SYNTAX = "host_syntax"
    OVERRIDE_FIELD = "override_field"
    CONNECTION_OPTION = "connection_option"
    EXPECTATION = "expectation"
    UPGRADE = "upgrade"
    # framing, RFC 9112 §6
    CONTENT_LENGTH = "content_length"
    CONTENT_LENGTH_DUPLICATE = "content_length_duplicate"
    LENGTH_AND_CODING = "length_and_coding"
    TRANSFER_CODING = "transfer_coding"
    CODING_IN_1_0 = "coding_in_1_0"
    CHUNK = "chunk"
    # two readers of the same bytes must agree
    CROSS_CHECK = "cross_check"


STATUS: Final[dict[Fault, int]] = {
    Fault.HEAD_TOO_LARGE: 431,
    Fault.TOO_MANY_FIELDS: 431,
    Fault.TARGET_TOO_LONG: 414,
    Fault.METHOD_REFUSED: 501,
    Fault.VERSION: 505,
    Fault.EXPECTATION: 417,
    Fault.UPGRADE: 501,
    Fault.TRANSFER_CODING: 501,
}
"""What a faulty request is answered with; 400 where it is not listed. A faulty response is always 502."""


class HeadError(Exception):
    """The bytes break a rule. Nothing of them is in the text: they are a stranger's."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        super().__init__(str(fault))

    @property
    def status(self) -> int:
        return STATUS.get(self.fault, 400)


_UNSUPPORTED: Final = frozenset({Fault.METHOD_REFUSED, Fault.UPGRADE, Fault.TRANSFER_CODING, Fault.VERSION})


def reason_of(fault: Fault) -> Reason:
    """Which verdict a fault is."""
    return Reason.UNSUPPORTED if fault in _UNSUPPORTED else Reason.PROTOCOL_VIOLATION
