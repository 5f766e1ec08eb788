"""Attacks on the data path, each with the hole it found or the line that held."""
