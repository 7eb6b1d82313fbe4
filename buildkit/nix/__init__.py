"""The one adapter for Nix: arguments in, store paths out."""

from buildkit.nix.adapter import Nix

__all__ = ["Nix"]
