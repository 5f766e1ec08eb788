"""The PostgreSQL wire protocol, both ends."""
