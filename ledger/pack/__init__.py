"""Evidence packs: what a log says of one matter, as one file that is checked without any server."""
