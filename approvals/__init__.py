"""Who may have what, for how long, and who said so."""
