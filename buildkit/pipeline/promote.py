"""``promote``: nothing gets into a channel that is not proven, and two cannot both move it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from buildkit import digests, media
from buildkit.errors import InputError, PolicyError, Problem, PromotionError
from buildkit.evidence import journal as journals
from buildkit.evidence import policy as policies
from buildkit.evidence import promotion
from buildkit.evidence.promotion import Promotion
from buildkit.evidence.verify import StoreSource, anchors, verify
from buildkit.store import REF_NAME

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from buildkit.evidence.journal import Record
    from buildkit.evidence.keys import KeyRing
    from buildkit.evidence.policytypes import Policy
    from buildkit.evidence.signer import Who
    from buildkit.evidence.verify import Report
    from buildkit.pipeline.channels import Home, State
    from buildkit.store import Store

NOTHING = "none"
_ANY_AGE_DAYS = 36_500


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """Who moves a channel, by what rules.

    Attributes:
        channel: its name.
        store: has the artifact and what is said about it.
        home: where the channel is.
        policy_file: what the artifact is held against.
        ring: keys of one's own, and of devices.
        signer: signs the record.
        now: with a time zone.
        expect: digest that the channel must lead to, or `NOTHING`; empty: as its journal says.
    """

    channel: str
    store: Store
    home: Home
    policy_file: Path
    ring: KeyRing
    signer: Who
    now: datetime
    expect: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Promoted:
    """Where a channel leads now.

    Attributes:
        channel: its name.
        place: where it is.
        name: of the artifact.
        digest: of the image's index.
        models: digest of the index of its models.
        previous: digest that it led to before; empty when it was new.
        number: of the newest record.
        restores: number of the record that a roll-back went back to; 0 for any other move.
        record: digest of the newest record's bundle.
        signer: who signed that.
        moved: whether it led elsewhere before.
    """

    channel: str
    place: str
    name: str
    digest: str
    models: str
    previous: str
    number: int
    restores: int
    record: str
    signer: str
    moved: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What came of it: the verification, and the move if that held."""

    report: Report
    promoted: Promoted | None


def promote(ref: str, asked: Asked, say: Callable[[str], None]) -> Answer:
    """Let a channel lead to an artifact, if it is proven.

    Args:
        ref: an image, by name or digest.
        asked: who, where, by what rules.
        say: told what happens.

    Raises:
        EvidenceError: the channel's journal is forged or broken.
        InputError: not an image, no such channel name, or a policy that asks for no device.
        PromotionError: the channel is not where it should be, or somebody else moved it meanwhile.
        RegistryError, SignerError, StoreError, DigestError: as their names say.
    """
    move = _Move(asked, say)
    digest = asked.store.resolve(ref).digest
    say("asking what is known of it")
    asked.home.bring(digest)
    return move.to(digest, ref)


def roll_back(asked: Asked, say: Callable[[str], None]) -> Answer:
    """Let a channel lead to what it led to before.

    It is held against the policy again, but for the age of its test results: they were young enough
    when it got there.

    Args:
        asked: who, where, by what rules.
        say: told what happens.

    Raises:
        PromotionError: there is nothing before; else as `promote`.
    """
    move = _Move(asked, say, any_age=True)
    earlier = move.earlier()
    if earlier is None:
        msg = f"{move.where} led nowhere before"
        raise PromotionError(msg, "promote what it is to lead to: python -m buildkit promote REF")
    say(f"back to record {earlier.said.number}: {earlier.said.name} {earlier.said.image}")
    asked.home.bring(earlier.said.image)
    return move.to(earlier.said.image, earlier.said.name, restores=earlier.said.number)


class _Move:
    """One move of one channel, from what it was when this began."""

    def __init__(self, asked: Asked, say: Callable[[str], None], *, any_age: bool = False) -> None:
        promotion.channel_name(asked.channel)
        self._asked = asked
        self._say = say
        self._policy = _policy(asked.policy_file, any_age=any_age)
        folder = asked.policy_file.absolute().parent
        self._anchors = anchors.load(self._policy, folder, asked.ring, asked.now)
        self._signer = asked.signer.somebody()
        self.where = f"{asked.home.place}:{asked.channel}"
        self._state = asked.home.read(asked.channel)
        self.records = self._opened(self._state)
        self._check_expected()
        self._check_remembered()

    def earlier(self) -> Record | None:
        """What a roll-back goes to: where it led before, or should lead if it was tampered with."""
        newest = self.records[0] if self.records else None
        if newest is not None and newest.said.image != self._state.pointed:
            found = [each for each in self.records if each.said.number == newest.said.state]
            return found[0] if found else None
        return journals.before(self.records)

    def to(self, digest: str, name: str, *, restores: int = 0) -> Answer:
        """Hold an image against the policy, and move the channel to it."""
        asked, state = self._asked, self._state
        image = asked.store.resolve(digest)
        links = asked.store.links(image)
        models = links.annotations.get(media.MODEL_DIGEST, "")
        if image.media_type != media.INDEX or links.artifact_type is not None or not models:
            msg = f"{name}: not an image with a model"
            raise InputError(msg, "name an image that `python -m buildkit show` lists")
        self._say("verifying")
        with asked.store.reading():
            report = verify(
                StoreSource(asked.store),
                image,
                policy=self._policy,
                anchors=self._anchors,
                now=asked.now,
                ref=name,
            )
        if not report.holds:
            return Answer(report=report, promoted=None)
        if self.records and state.pointed == digest == self.records[0].said.image:
            return Answer(report=report, promoted=self._already(self.records[0]))
        said = Promotion(
            channel=asked.channel,
            place=asked.home.place,
            number=self.records[0].said.number + 1 if self.records else 1,
            name=report.name,
            image=digest,
            models=models,
            at=asked.now,
            previous=self.records[0].payload if self.records else "",
            restores=restores,
            policy=self._policy.digest,
            devices=report.devices,
        )
        bundle = self._signer.bundle(said.statement().payload())
        self._say("sending what is not there yet")
        asked.home.publish(digest)
        self._say(f"moving {self.where}")
        if not asked.home.move(asked.channel, state, image, bundle):
            return Answer(report=report, promoted=self._overtaken(digest))
        promoted = self._at(said, digests.of_bytes(bundle), self._signer.name, moved=True)
        return Answer(report=report, promoted=promoted)

    def _overtaken(self, digest: str) -> Promoted:
        """Somebody else was faster, which is no loss if they wanted the same.

        Raises:
            PromotionError: they wanted something else.
        """
        state = self._asked.home.read(self._asked.channel)
        records = self._opened(state)
        if records and state.pointed == records[0].said.image == digest and not self._asked.expect:
            return self._already(records[0])
        msg = f"{self.where} was moved meanwhile: it leads to {state.pointed or NOTHING} now"
        if records:
            newest = records[0]
            msg += f" (record {newest.said.number}: {newest.said.name}, by {newest.signer})"
        raise PromotionError(msg, "if yours is still wanted, run the command again")

    def _opened(self, state: State) -> tuple[Record, ...]:
        asked = self._asked
        return journals.opened(
            state.journal.records,
            asked.home.record,
            channel=asked.channel,
            place=asked.home.place,
            policy=self._policy,
            anchors=self._anchors,
            vouched=bool(asked.expect),
        )

    def _check_expected(self) -> None:
        """Whether the channel's tag leads where it should.

        Raises:
            PromotionError: it does not.
        """
        at, expect = self._state.pointed, self._asked.expect
        if expect:
            wanted = "" if expect == NOTHING else expect
            if at != wanted:
                msg = f"{self.where} leads to {at or NOTHING}, not to {expect}"
                raise PromotionError(msg, "look at what is there now, and at who moved it")
            return
        last = self.records[0].said.image if self.records else ""
        if at != last:
            msg = (
                f"{self.where} leads to {at or NOTHING}, and its journal says {last or NOTHING}: "
                "somebody moved it by other means"
            )
            raise PromotionError(msg, f"if that is well: --expect {at or NOTHING}")

    def _check_remembered(self) -> None:
        """Whether the journal still has what this store saw in it.

        Raises:
            PromotionError: it does not: somebody shows an older one.
        """
        asked = self._asked
        now = {each.digest for each in self._state.journal.records}
        seen = asked.home.remembered(asked.channel).journal.records
        # A full journal may have dropped it.
        if asked.expect or not seen or seen[0].digest in now or len(now) == journals.MOST:
            return
        msg = f"{self.where}: its journal no longer has the record {seen[0].digest}"
        raise PromotionError(
            msg,
            f"ask who may write there; if that is well: --expect {self._state.pointed or NOTHING}",
        )

    def _already(self, newest: Record) -> Promoted:
        return self._at(newest.said, newest.bundle, newest.signer, moved=False)

    def _at(self, said: Promotion, record: str, signer: str, *, moved: bool) -> Promoted:
        return Promoted(
            channel=said.channel,
            place=said.place,
            name=said.name,
            digest=said.image,
            models=said.models,
            previous=self._state.pointed,
            number=said.number,
            restores=said.restores,
            record=record,
            signer=signer,
            moved=moved,
        )


def name_in_store(store: Store, ref: str) -> str:
    """The name that an artifact's channels in a store begin with: ``digits``.

    Raises:
        InputError: it has none there, or several.
        StoreError: it is not there.
    """
    name, colon, _ = ref.rpartition(":")
    if "/" in ref:
        msg = f"{ref}: a name with a host is of a registry's channel"
        raise InputError(msg, "say --in HOST/REPOSITORY")
    if colon and not digests.is_digest(ref):
        return name
    found = store.resolve(ref).digest
    refs = [each.annotations.get(REF_NAME, "") for each in store.entries() if each.digest == found]
    # A name with a host is of a channel in a registry.
    names = {each.rpartition(":")[0] for each in refs if "/" not in each} - {""}
    if len(names) != 1:
        msg = f"{ref} has {len(names)} names in this store, not one"
        raise InputError(msg, "name it: NAME:VERSION, or say --in HOST/REPOSITORY")
    return names.pop()


def _policy(file: Path, *, any_age: bool) -> Policy:
    policy = policies.load(file)
    smoke = policy.smoke
    if not (smoke.targets and smoke.devices):
        problem = Problem(
            path="smoke",
            line=0,
            message="no device has to have passed, and nothing is promoted that ran on none",
            remedy='name how many of which: targets = ["pi5-cpu"], devices = 1',
        )
        raise PolicyError(str(file), (problem,))
    if any_age:
        policy = dataclasses.replace(policy, smoke=dataclasses.replace(smoke, days=_ANY_AGE_DAYS))
    return policy
