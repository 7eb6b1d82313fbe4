"""A whole emulated board that looks like a Raspberry Pi 5, for whoever has none at hand.

`Standin` is one board by name. What it is made of comes from Nix (``nix/standin.nix``), by way of
`buildkit.pipeline.standins`; `StandinLock` names it to the byte.
"""

from buildkit.standin.board import Standin
from buildkit.standin.faults import FAULTS
from buildkit.standin.pins import StandinLock
from buildkit.standin.types import Connection, Machine, Options, Status

__all__ = ["FAULTS", "Connection", "Machine", "Options", "Standin", "StandinLock", "Status"]
