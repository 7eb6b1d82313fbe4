"""``recipe.lock``: everything that goes in, by hash."""
