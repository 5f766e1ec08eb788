"""Plain SQL migrations, forward only."""
