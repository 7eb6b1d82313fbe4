"""Are the outputs of the timed inferences right, and the same every time?

Accuracy is taken from the very outputs whose latency counts (as MLPerf's TEST01 does), so a fast
path that answers wrongly cannot hide behind a slow one that is checked.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import Kind, SmokeError
from .unknown import Unknown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .golden import Array, Golden

MOST_KEPT = 64 << 20  # bytes of first answers kept for their common digest


class Checker:
    """Takes outputs of inferences, compares with the labels and with earlier outputs."""

    def __init__(self, golden: Golden) -> None:
        self._golden = golden
        self._digests: dict[int, bytes] = {}
        self._right: dict[int, int] = {}
        self._kept: dict[int, Array] | None = {}
        self._kept_bytes = 0
        self._timed = 0
        self._timed_right = 0
        self._differing = 0
        self._not_finite = 0

    def take(self, places: Sequence[int], outputs: Sequence[Any], *, timed: bool) -> None:
        """Outputs of the feeds at `places`; counts them as timed or not.

        Raises:
            SmokeError: kind ``model``; the first output is neither scores nor classes.
        """
        for place, output in zip(places, outputs, strict=True):
            answer = np.ascontiguousarray(output[0])
            right = self._count(place, answer)
            if timed:
                self._timed += self._golden.batch
                self._timed_right += right
            digest = hashlib.sha256(answer.tobytes()).digest()
            if self._digests.setdefault(place, digest) != digest:
                self._differing += 1
            elif place not in self._right:
                self._right[place] = right
                self._keep(place, answer)

    def missing(self) -> list[int]:
        """Feeds that were never asked, in order."""
        return [place for place in range(len(self._golden.feeds)) if place not in self._right]

    def document(self) -> dict[str, Any]:
        """As the report says it."""
        return {
            "timed": {"samples": self._timed, "correct": self._timed_right},
            "golden": {
                "samples": len(self._golden.labels),
                "answered": len(self._right) * self._golden.batch,
                "correct": sum(self._right.values()),
            },
            "differing": self._differing,
            "not_finite": self._not_finite,
            "answers_sha256": self._together(),
        }

    def _count(self, place: int, answer: Array) -> int:
        """How many samples of a feed are right."""
        batch = self._golden.batch
        labels = self._golden.labels[place * batch : (place + 1) * batch]
        if answer.shape[:1] != (batch,) or answer.size == 0:
            raise _wrong(answer)
        scores = answer.reshape(batch, -1)
        if answer.dtype.kind == "f" and scores.shape[1] > 1:
            finite = np.isfinite(scores).all(axis=1)
            self._not_finite += int(batch - finite.sum())
            return int(((scores.argmax(axis=1) == labels) & finite).sum())
        if answer.dtype.kind in "iu" and scores.shape[1] == 1:
            return int((scores[:, 0] == labels).sum())
        raise _wrong(answer)

    def _keep(self, place: int, answer: Array) -> None:
        if self._kept is None:
            return
        self._kept_bytes += answer.nbytes
        self._kept[place] = answer
        if self._kept_bytes > MOST_KEPT:
            self._kept = None

    def _together(self) -> str | Unknown:
        """SHA-256 over all first answers, little-endian, in the order of the golden set."""
        if self._kept is None:
            return Unknown(f"the answers have more than {MOST_KEPT} bytes")
        if self.missing():
            return Unknown("not every golden input was asked")
        state = hashlib.sha256()
        for place in range(len(self._golden.feeds)):
            answer = self._kept[place]
            state.update(answer.astype(answer.dtype.newbyteorder("<")).tobytes())
        return state.hexdigest()


def _wrong(answer: Array) -> SmokeError:
    have = f"{answer.dtype.name}{list(answer.shape)}"
    return SmokeError(Kind.MODEL, f"the first output is {have}, expected scores (N, classes)")
