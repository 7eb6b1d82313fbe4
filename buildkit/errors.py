"""Every error that the library raises on purpose, and the exit code it means.

::

    BuildkitError                 2  could not be decided
    ├── InputError                2  what the user wrote cannot be used
    │   ├── RecipeError           2  recipe.toml, all mistakes at once
    │   │   └── PolicyError       2  policy.toml, the same way
    │   └── LockError             2  recipe.lock is missing, newer, or edited by hand
    ├── ToolError                 2  a tool is missing, too old, or failed
    │   └── DeadlineError         2  a tool did not answer in time
    ├── ResolveError              2  a package does not exist, or not for this platform
    ├── FetchError                2  an input cannot be brought here
    ├── StoreError                2  the store cannot be read or written
    ├── EngineError               2  the BuildKit engine cannot be started or reached
    ├── SignerError               2  there is no key, no identity, or no right to use it
    ├── RegistryError             2  a registry cannot be reached, or does not keep to the protocol
    ├── DeviceError               2  a device, or the line to it, cannot be used; says whose fault
    ├── MachineError              2  the disk is full, a folder cannot be written, no memory
    ├── Fault                     2  a mistake in this program
    ├── Interrupted             130  Ctrl-C; 143 for SIGTERM, 129 for SIGHUP
    └── Refused                   1  decided, and the answer is no
        ├── DriftError            1  recipe and lock no longer agree
        ├── DigestError           1  bytes are not what their digest says
        ├── AccuracyError         1  the quantised model is below its golden limit
        ├── EvidenceError         1  what is said about an artifact is malformed or not true
        ├── DeviceRefused         1  a device checked what it was to run, and does not run it
        └── PromotionError        1  a channel is not where it was, or has nowhere to go

Errors of libraries and tools are translated at the boundary, ``from`` the cause.
"""

from __future__ import annotations

from dataclasses import dataclass


class BuildkitError(Exception):
    """What happened, and what to type next.

    Args:
        message: what happened and where, one sentence, no trailing full stop.
        remedy: what the user can do about it; empty when there is nothing to do.
    """

    exit_code = 2

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


class InputError(BuildkitError):
    """What the user wrote cannot be used."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One mistake in an input file.

    Attributes:
        path: dotted path of the key (``model.calibration.data``); empty for the whole file.
        line: line in the file, from 1; 0 when the mistake has no line (a missing table).
        message: what is wrong.
        remedy: what to write instead.
    """

    path: str
    line: int
    message: str
    remedy: str = ""


class RecipeError(InputError):
    """All mistakes of one recipe, in the order of their lines."""

    def __init__(self, file: str, problems: tuple[Problem, ...]) -> None:
        self.file = file
        self.problems = problems
        count = f"{len(problems)} mistake{'s' if len(problems) != 1 else ''}"
        super().__init__(f"{file}: {count}", "correct the lines above, then run the command again")


class PolicyError(RecipeError):
    """All mistakes of one policy, in the order of their lines."""


class LockError(InputError):
    """The lock is missing, from a newer version, or does not hold together."""


class ToolError(BuildkitError):
    """An external tool is missing, too old, or failed; its last output is in the message."""


class DeadlineError(ToolError):
    """An external tool did not end in time and was stopped."""


class ResolveError(BuildkitError):
    """A package does not exist, or not for this platform."""


class FetchError(BuildkitError):
    """An input cannot be brought here."""


class StoreError(BuildkitError):
    """The store cannot be read or written."""


class EngineError(BuildkitError):
    """The BuildKit engine cannot be started or reached."""


class SignerError(BuildkitError):
    """Nothing can be signed: no key, a wrong passphrase, no identity, no service."""


class RegistryError(BuildkitError):
    """A registry cannot be reached, refuses, or does not keep to the protocol."""


class DeviceError(BuildkitError):
    """Nothing could be tried on a device, or it did not come to its end.

    Args:
        kind: a word of docs/device-protocol.md (``busy``, ``disk``, ``network``), for scripts.
        blame: ``device``, ``network`` or ``host``.
        message: what happened and where.
        remedy: what the user can do about it.
    """

    def __init__(self, kind: str, blame: str, message: str, remedy: str = "") -> None:
        super().__init__(message, remedy)
        self.kind = kind
        self.blame = blame


class MachineError(BuildkitError):
    """The operating system refused something that no room has better words for."""


class Fault(BuildkitError):
    """A mistake in this program; it decides nothing about what the user wrote."""


class Interrupted(BuildkitError):
    """Someone wants an end.

    Args:
        signal: its number; a shell shows 128 more as the exit status.
    """

    def __init__(self, signal: int) -> None:
        super().__init__("interrupted", "run it again; what is finished is not done twice")
        self.exit_code = 128 + signal


class Refused(BuildkitError):
    """It was decided, and the answer is no."""

    exit_code = 1


class DriftError(Refused):
    """Recipe and lock no longer agree."""


class DigestError(Refused):
    """Bytes are not what their digest says."""


class AccuracyError(Refused):
    """The quantised model is below its golden limit; nothing was published."""


class EvidenceError(Refused):
    """What is said about an artifact is malformed, or not true.

    Args:
        reason: a value of `buildkit.evidence.reasons.Reason`, for scripts.
        message: what happened and where.
        remedy: what the user can do about it.
    """

    def __init__(self, reason: str, message: str, remedy: str = "") -> None:
        super().__init__(message, remedy)
        self.reason = reason


class DeviceRefused(Refused):
    """A device checked digests and signatures of what it was to run, and one does not hold."""


class PromotionError(Refused):
    """A channel is not where whoever moves it believes, or there is nothing that it could go to."""
