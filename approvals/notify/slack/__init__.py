"""Slack: ask, decide and follow, through slack-bolt."""
