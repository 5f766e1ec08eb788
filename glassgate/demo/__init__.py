"""The trial: two real stores, four people, a guided tour."""
