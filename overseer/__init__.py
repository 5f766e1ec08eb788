"""The independent party's station."""
