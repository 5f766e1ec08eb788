"""Releases that anybody can build again: what one is made of, how two are compared, how one is recognised."""
