"""The program: configuration, wiring, command line, demo."""
