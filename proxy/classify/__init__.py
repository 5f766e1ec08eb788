"""What an operation is, per kind of store."""
