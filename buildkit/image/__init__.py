"""Images: the build context for BuildKit, its app layers grafted onto Nix-made ones, the index."""
