# What the library builds, for people who live in Nix: the same derivations from the same locks.
# It has no inputs; what a lock names must be in the store: `python -m buildkit fetch` first.
{
  description = "From one recipe to a pinned runtime image and a quantised model";

  outputs = _: import ./nix/outputs.nix;
}
