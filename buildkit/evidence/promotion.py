"""That an artifact was let into a channel: form of the record. Pure.

``docs/channels.md`` is its text: no standard predicate says where a name leads.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from buildkit import canonical, media
from buildkit.errors import EvidenceError, InputError
from buildkit.evidence import shapes
from buildkit.evidence.reasons import Reason
from buildkit.evidence.statement import Statement, Subject

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

PREDICATE_TYPE = "urn:edge-buildkit:predicate:promotion:v1"

# A letter first, so that no version can be one; and no dot, which `JOURNAL` begins with.
_CHANNEL = re.compile(r"[a-z][a-z0-9-]{0,31}")
_KEY = re.compile(r"[0-9a-f]{16}")
_KEYS = {"channel", "place", "number", "time", "previous", "restores", "policy", "devices"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Promotion:
    """One move of a channel.

    Attributes:
        channel: ``canary``.
        place: ``HOST/repository`` in a registry, or the name of an artifact in a store.
        number: 1 for the first one of that channel.
        name: what was asked for, for people.
        image: digest of the image's index, to which the channel leads from now on.
        models: digest of the index of its models.
        at: when.
        previous: hex SHA-256 of the payload of the record before; empty for the first.
        restores: number of the record that a roll-back goes back to; 0 for any other move.
        policy: digest of the policy that it was held against.
        devices: target → ids of the keys of the devices that it passed on.
    """

    channel: str
    place: str
    number: int
    name: str
    image: str
    models: str
    at: datetime
    previous: str
    restores: int
    policy: str
    devices: Mapping[str, tuple[str, ...]]

    @property
    def state(self) -> int:
        """Number of the record that first brought what this one leads to."""
        return self.restores or self.number

    def statement(self) -> Statement:
        """The statement, for who promotes to sign.

        Raises:
            EvidenceError: it does not hold together.
        """
        found = Statement(
            subjects=(
                Subject(name=self.name, digest=self.image),
                Subject(name=f"{self.name} (models)", digest=self.models),
            ),
            predicate_type=PREDICATE_TYPE,
            predicate={
                "channel": self.channel,
                "place": self.place,
                "number": self.number,
                "time": canonical.timestamp(int(self.at.timestamp())),
                "previous": {"sha256": self.previous} if self.previous else None,
                "restores": self.restores or None,
                "policy": {"digest": {"sha256": self.policy.removeprefix("sha256:")}},
                "devices": {target: list(keys) for target, keys in self.devices.items()},
            },
        )
        read(found, "a promotion")
        return found


def channel_name(text: str) -> str:
    """`text`, when it can name a channel.

    Raises:
        InputError: it cannot.
    """
    if _CHANNEL.fullmatch(text) is None or text.endswith(media.MODEL_SUFFIX):
        msg = f"{text!r} cannot name a channel"
        raise InputError(
            msg, "use lower-case letters, digits and `-`, a letter first; not `…-model`"
        )
    return text


def read(said: Statement, what: str) -> Promotion:
    """Read a record that somebody signed, strictly.

    Args:
        said: the statement.
        what: for the message.

    Raises:
        EvidenceError: it is no such record.
    """
    if said.predicate_type != PREDICATE_TYPE:
        msg = f"{what}: {said.predicate_type!r}, and not a promotion"
        raise EvidenceError(Reason.PREDICATE_TYPE, msg)
    if len(said.subjects) != 2:
        msg = f"{what}: not about one image and its models"
        raise EvidenceError(Reason.SUBJECT, msg)
    body = shapes.object(said.predicate, what, needed=_KEYS, most=_KEYS)
    number = _count(body["number"], f"{what}: number")
    previous, restores = body["previous"], body["restores"]
    policy = shapes.object(body["policy"], f"{what}: policy", needed={"digest"}, most={"digest"})
    found = Promotion(
        channel=shapes.text(body["channel"], f"{what}: channel"),
        place=shapes.text(body["place"], f"{what}: place"),
        number=number,
        name=shapes.text(said.subjects[0].name, f"{what}: name"),
        image=said.subjects[0].digest,
        models=said.subjects[1].digest,
        at=shapes.time(body["time"], f"{what}: time"),
        previous="" if previous is None else shapes.sha256(previous, f"{what}: previous"),
        restores=0 if restores is None else _count(restores, f"{what}: restores"),
        policy=f"sha256:{shapes.sha256(policy['digest'], f'{what}: policy')}",
        devices=_devices(body["devices"], f"{what}: devices"),
    )
    if _CHANNEL.fullmatch(found.channel) is None:
        shapes.refuse(what, f"channel {found.channel!r}")
    if (number == 1) != (not found.previous):
        shapes.refuse(what, f"record {number}, and `previous` is {found.previous or 'empty'}")
    if found.restores >= number:
        shapes.refuse(what, f"record {number} goes back to record {found.restores}")
    return found


def _count(value: Any, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 1 << 31:
        shapes.refuse(where, "not a positive number")
    return value


def _devices(value: Any, where: str) -> Mapping[str, tuple[str, ...]]:
    rows = shapes.object(value, where)
    if not rows:
        # Nothing is let into a channel that ran on no device.
        shapes.refuse(where, "no device")
    found: dict[str, tuple[str, ...]] = {}
    for target, listed in rows.items():
        keys = shapes.array(listed, where)
        if not keys or not all(isinstance(key, str) and _KEY.fullmatch(key) for key in keys):
            shapes.refuse(where, f"no ids of keys for {target!r}")
        found[target] = tuple(keys)
    return found
