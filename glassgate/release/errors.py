"""What can go wrong with a release, as one exception."""

__all__ = ["ReleaseRefused"]


class ReleaseRefused(Exception):
    """A release cannot be made, read or vouched for; the text says which file or tool, and is safe to show."""
