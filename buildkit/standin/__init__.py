"""A whole emulated board that looks like a Raspberry Pi 5, for whoever has none at hand."""
