"""Studies: questions put to a slice store, each answered by one table."""
