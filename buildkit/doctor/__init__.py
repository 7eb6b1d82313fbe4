"""What this machine has and lacks for a build, each lack with its remedy."""

from buildkit.doctor.examine import examine
from buildkit.doctor.types import Check, Machine, Status, worst

__all__ = ["Check", "Machine", "Status", "examine", "worst"]
