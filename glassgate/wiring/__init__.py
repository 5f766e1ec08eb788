"""The only place that builds things out of other things: one file per process role, on a common ground."""
