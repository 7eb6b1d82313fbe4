"""One page about one artifact, for a person: all that the index knows of it."""
