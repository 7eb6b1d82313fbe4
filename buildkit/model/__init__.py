"""Models: what the sandbox runs (`prepare`), and the artifact that carries the result."""
