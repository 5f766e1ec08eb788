"""The gate: authenticate, enforce, record, relay."""
