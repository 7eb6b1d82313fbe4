"""Why two digests differ: from the entry of a lock to the file or the tensor."""

from buildkit.why.compare import lock_files, refs
from buildkit.why.diffoscope import inside
from buildkit.why.types import Cause, Consequence, Effect, Explanation, Reason

__all__ = [
    "Cause",
    "Consequence",
    "Effect",
    "Explanation",
    "Reason",
    "inside",
    "lock_files",
    "refs",
]
