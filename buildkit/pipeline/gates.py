"""``gate``: test results that hang on an image are judged again, by rules of today. Runs nothing.

A baseline has no place here: whether one image is slower than another can only be told of runs that
took turns on one board (docs/gate.md), and what was measured on two days did not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from buildkit.errors import EvidenceError, InputError
from buildkit.evidence import bundle, kinds, referrers, smoke, statement
from buildkit.evidence.reasons import Reason
from buildkit.gate import documents
from buildkit.pipeline import trials
from buildkit.pipeline.local import DEVICE as LOCAL
from buildkit.pipeline.trials import Side
from buildkit.recipe import TARGETS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from buildkit.evidence.keys import KeyRing, PublicKey
    from buildkit.evidence.smoke import TestResult
    from buildkit.evidence.statement import Statement
    from buildkit.pipeline.candidate import Candidate
    from buildkit.pipeline.trials import Asked, Trial
    from buildkit.pipeline.verdicts import Shelf

# How far the clocks of device and host may be apart.
_SLACK: Final = timedelta(minutes=10)
_LOCAL_TOO: Final = f"runs on no device, which `--device {LOCAL}` judges"


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """Which test results are judged.

    Attributes:
        target: kind of device; all that were tried when empty.
        device: name or id of a device's key; every one when empty. ``local``: runs on no device,
            which count only if they are asked for.
        days: that a result may be old; any when absent.
    """

    target: str = ""
    device: str = ""
    days: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """What came of it.

    Attributes:
        trials: one for each device and target, in the order of target and name.
        passed_over: bundles that do not count, and why.
    """

    trials: tuple[Trial, ...]
    passed_over: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Signed:
    """A bundle whose signature holds."""

    referrer: str
    digest: str
    key: PublicKey
    statement: Statement
    payload: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class _Result:
    """One test result that counts, with all referrers that hold it."""

    saw: TestResult
    statement: Statement
    payload: bytes
    referrers: tuple[str, ...]
    device: str
    key: str


@dataclass(kw_only=True, slots=True)
class _Sieve:
    """Takes the results that count, and keeps word of the others."""

    ring: KeyRing
    wanted: Wanted
    now: datetime
    whose: frozenset[str]
    passed_over: dict[str, None] = field(default_factory=dict)

    def results(self, asked: Asked, what: Candidate) -> list[_Result]:
        """What is said about image and model of a candidate, each payload once."""
        by_payload: dict[bytes, list[_Signed]] = {}
        for subject in what.subjects:
            for found in referrers.find(asked.store, subject.digest):
                try:
                    signed = self._open(found)
                except EvidenceError as error:
                    self._pass(error.message)
                    continue
                if signed is not None:
                    by_payload.setdefault(signed.payload, []).append(signed)
        return [
            each
            for each in (self._result(signed, what) for signed in by_payload.values())
            if each is not None
        ]

    def _open(self, found: referrers.Found | EvidenceError) -> _Signed | None:
        """A test result that a key of the ring signed; nothing when it is of another kind.

        Raises:
            EvidenceError: it cannot be read, nobody knows who signed, or the signature is wrong.
        """
        if isinstance(found, EvidenceError):
            raise found
        name = f"bundle {found.digest}"
        opened = bundle.parse(found.bundle, name)
        said = statement.parse(opened.envelope.payload, name, older=True)
        if said.predicate_type != kinds.TEST_RESULT.predicate_type:
            return None
        if not opened.key_hint:
            msg = f"{name}: signed with a certificate, by which no device signs"
            raise EvidenceError(Reason.SIGNER_UNKNOWN, msg)
        key = self.ring.with_hint(opened.key_hint)
        if key is None:
            msg = f"{name}: signed with a key that is not in the key ring"
            raise EvidenceError(Reason.SIGNER_UNKNOWN, msg)
        try:
            key.verify(opened.envelope.signature, opened.envelope.signed())
        except EvidenceError as error:
            msg = f"{name}: {error.message}"
            raise EvidenceError(error.reason, msg) from error
        if key.state == "retired":
            msg = f"{name}: signed with key {key.id} ({key.name}), which was retired"
            raise EvidenceError(Reason.SIGNER_UNKNOWN, msg)
        return _Signed(
            referrer=found.manifest.digest,
            digest=found.digest,
            key=key,
            statement=said,
            payload=opened.envelope.payload,
        )

    def _result(self, signed: Sequence[_Signed], what: Candidate) -> _Result | None:
        """One result by all who signed it; nothing when it does not count."""
        first = signed[0]
        name = f"bundle {first.digest}"
        try:
            saw = smoke.read_result(first.statement, name)
        except EvidenceError as error:
            self._pass(error.message)
            return None
        about = {each.digest for each in what.subjects}
        if {saw.image, saw.model} != about or saw.target != what.target.name:
            # One image may serve several targets, and have had other models.
            return None
        boards = {each.key.id: each.key.name for each in signed if each.key.state == "device"}
        key, device = ("", LOCAL) if saw.local else next(iter(boards.items()), ("", ""))
        if self.whose and not self.whose & {key, device}:
            return None
        hosts = any(each.key.state != "device" for each in signed)
        why = self._refused(saw, what, boards, by_host=hosts)
        if saw.local and not self.whose:
            self._pass(_LOCAL_TOO)
            return None
        if why:
            self._pass(f"{name}: {why}")
            return None
        return _Result(
            saw=saw,
            statement=first.statement,
            payload=first.payload,
            referrers=tuple(sorted(each.referrer for each in signed)),
            device=device,
            key=key,
        )

    def _refused(
        self, saw: TestResult, what: Candidate, boards: Mapping[str, str], *, by_host: bool
    ) -> str:
        """Why a result does not count; empty when it does."""
        if saw.local and not by_host:
            return "it ran on no device, and only a device signed it"
        if not saw.local and len(boards) != 1:
            return f"{len(boards)} devices whose keys count signed it, and not one"
        if other := trials.another(what, saw):
            return f"about another {other}"
        if saw.ended > self.now + _SLACK:
            return "it lies in the future"
        if self.wanted.days is not None and saw.ended < self.now - timedelta(days=self.wanted.days):
            return f"it is older than {self.wanted.days} days"
        return ""

    def _pass(self, why: str) -> None:
        self.passed_over.setdefault(why)


def judge(
    asked: Asked,
    wanted: Wanted,
    *,
    ring: KeyRing,
    now: int,
    shelf: Shelf | None = None,
) -> Judged:
    """Judge the newest test result of each device again.

    Several of one second are judged together: nobody knows which of them was last.

    Args:
        asked: image, and the limits to judge by.
        wanted: which results.
        ring: keys of devices, and one's own.
        now: seconds since 1970.
        shelf: where the signed verdicts go; nowhere when absent.

    Returns:
        No trials when nothing counts: then nothing is decided.

    Raises:
        InputError: not an image, no such target or device.
        SignerError: a verdict cannot be signed.
        StoreError, DigestError: a part is missing or corrupt.
    """
    sieve = _Sieve(
        ring=ring,
        wanted=wanted,
        now=datetime.fromtimestamp(now, UTC),
        whose=_whose(ring, wanted.device),
    )
    done = []
    for what in _pairs(asked, wanted.target):
        found = _by_device(sieve.results(asked, what.chosen))
        for (device, key), results in sorted(found.items()):
            runs = [
                documents.run_of(
                    each.statement.predicate,
                    device=device,
                    target=each.saw.target,
                    nonce=each.saw.nonce,
                    evidence=each.referrers,
                )
                for each in results
            ]
            side = Side(what=what.chosen, runs=runs, payloads=[each.payload for each in results])
            attempt = trials.judge((side,), what.rules)
            done.append(trials.finished(attempt, what.rules, device=device, key=key, shelf=shelf))
    return Judged(trials=tuple(done), passed_over=tuple(sieve.passed_over))


def _by_device(results: Iterable[_Result]) -> Mapping[tuple[str, str], list[_Result]]:
    """The newest of each device."""
    found: dict[tuple[str, str], list[_Result]] = {}
    for each in sorted(results, key=lambda one: (one.saw.ended, one.payload)):
        of = found.setdefault((each.device, each.key), [])
        of[:] = [one for one in of if one.saw.ended == each.saw.ended]
        of.append(each)
    return found


def _pairs(asked: Asked, target: str) -> list[trials.Pair]:
    """The image and the model of a target, or of each that the image has some for."""
    if target:
        return [trials.pair(asked, target)]
    found, last = [], None
    for name in TARGETS:
        try:
            found.append(trials.pair(asked, name))
        except InputError as error:
            last = error
    if not found and last is not None:
        raise last
    return found


def _whose(ring: KeyRing, device: str) -> frozenset[str]:
    """Ids of a device's keys, ``local``, or nothing for every one.

    Raises:
        InputError: no such device.
    """
    if not device:
        return frozenset()
    if device == LOCAL:
        return frozenset({LOCAL})
    boards = [key for key in ring.keys if key.state == "device"]
    # A board that was flashed again has another key.
    found = {key.id for key in boards if device in (key.name, key.id)}
    if not found:
        msg = f"{device}: no device of that name has a key in the key ring"
        listed = ", ".join(dict.fromkeys(key.name for key in boards))
        raise InputError(msg, f"one of: {listed}, {LOCAL}" if listed else "enrol it first")
    return frozenset(found)
