"""Channels that tell people what happened, driven by the outbox."""
