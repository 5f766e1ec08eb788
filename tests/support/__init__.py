"""What tests share: a real PostgreSQL, certificates, a clock that is moved by hand."""
