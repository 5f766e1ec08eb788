"""The HTTP API that CLI, portal and scripts speak."""
