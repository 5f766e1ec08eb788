"""The tamper-evident log: entries, tree, checkpoints, tiles. Usable without the rest."""
