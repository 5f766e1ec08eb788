"""What this package raises when bytes break the protocol."""

__all__ = ["ProtocolError"]


class ProtocolError(Exception):
    """The peer broke the wire protocol. The text is our own words and safe to show; it never quotes the peer."""

    def __init__(self, text: str, sqlstate: str = "08P01") -> None:
        self.text = text
        self.sqlstate = sqlstate
        super().__init__(text)
