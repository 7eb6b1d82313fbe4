"""Who signed, and what a policy asks for."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from signed_world import pem, signed
from tamper import Group
from tamper_bytes import ARM

from buildkit.evidence import kinds
from buildkit.evidence.keys import public_key
from buildkit.evidence.statement import OLDER_TYPE, Statement, Subject

if TYPE_CHECKING:
    from collections.abc import Callable

    from signed_world import World

GONE = "evidence-missing"


signers = Group("Signers")


def _by(key: str, kind: str = "provenance") -> Callable[[World], None]:
    """The honest statement, signed by somebody else instead."""
    return lambda world: world.resay(world.made.image, kind, lambda _: None, key=key)


for _kind in ("provenance", "run"):
    signers.add(
        f"stranger-{_kind}",
        f"the {_kind} signed by a stranger instead",
        f"signer-unknown {GONE}",
        _by("stranger", _kind),
    )
    signers.add(
        f"retired-{_kind}",
        f"the {_kind} signed with a retired key instead",
        f"signer-retired {GONE}",
        _by("retired", _kind),
    )


@signers("a platform's SBOM signed by a stranger instead", f"signer-unknown {GONE}")
def stranger_bom(world: World) -> None:
    world.resay(world.made.platforms[ARM], "spdx", lambda _: None, key="stranger")


@signers("a model's SBOM signed with a retired key instead", f"signer-retired {GONE}")
def retired_bom(world: World) -> None:
    world.resay(world.made.variants["pi5"], "cyclonedx", lambda _: None, key="retired")


@signers("a stranger's signature under the hint of the right key", f"signature {GONE}")
def stranger_hint(world: World) -> None:
    hint = public_key(pem("good"), "good").hint

    def change(document: Any) -> Any:
        payload = base64.b64decode(document["dsseEnvelope"]["payload"])
        found = json.loads(signed(payload, "stranger"))
        found["verificationMaterial"]["publicKey"]["hint"] = hint
        return found

    world.rebundle(world.made.image, "provenance", change)


@signers("all evidence signed by a stranger", f"signer-unknown {GONE}")
def stranger_all(world: World) -> None:
    world.resign(key="stranger")


@signers("a stranger's provenance beside the good one", "signer-unknown")
def stranger_beside(world: World) -> None:
    world.say(world.statement("provenance"), on=world.made.image, key="stranger")


@signers("a retired key's provenance beside the good one", "signer-retired")
def retired_beside(world: World) -> None:
    world.say(world.statement("provenance"), on=world.made.image, key="retired")


@signers("a stranger's review of an unknown kind", "signer-unknown")
def stranger_review(world: World) -> None:
    world.say(_review(world), key="stranger")


@signers("a trusted signer's review of an unknown kind", "predicate-type")
def unknown_kind(world: World) -> None:
    world.say(_review(world))


@signers("a key ring in which every key is retired", f"signer-retired {GONE}")
def ring_retired(world: World) -> None:
    _ring(world, lambda key: key.update(state="retired"))


@signers("an empty key ring", f"signer-unknown {GONE}")
def ring_empty(world: World) -> None:
    file = world.root / "keys/ring.json"
    document = json.loads(file.read_bytes())
    file.write_text(json.dumps({**document, "keys": []}))


@signers("no key ring", f"signer-unknown {GONE}")
def ring_gone(world: World) -> None:
    (world.root / "keys/ring.json").unlink()


def _ring(world: World, change: Callable[[Any], Any]) -> None:
    file = world.root / "keys/ring.json"
    document = json.loads(file.read_bytes())
    for key in document["keys"]:
        change(key)
    file.write_text(json.dumps(document))


def _review(world: World) -> Statement:
    return Statement(
        subjects=(Subject(name="image", digest=world.made.image),),
        predicate_type="https://example.org/review/v1",
        predicate={"good": True},
    )


# Policies ---------------------------------------------------------------------------------------

policies = Group("What a policy asks for")


def _policy(text: str, attack: Callable[[World], Any] = lambda _: None) -> Callable[[World], None]:
    def run(world: World) -> None:
        attack(world)
        world.use_policy(text)

    return run


OLDER = '[trust]\nkeys = ["older.pub"]\n'
GOOD = '[trust]\nkeys = ["good.pub"]\n'


def _without_good(world: World) -> None:
    """The key is in nobody's ring: only the policy could name it."""
    file = world.root / "keys/ring.json"
    document = json.loads(file.read_bytes())
    document["keys"] = [key for key in document["keys"] if key["name"] != "good"]
    file.write_text(json.dumps(document))


def _rebuild(key: str, *, identical: Any = True) -> Callable[[World], None]:
    def attack(world: World) -> None:
        statement = Statement(
            subjects=tuple(
                Subject(name=f"part {at}", digest=digest)
                for at, digest in enumerate(world.made.everything())
            ),
            predicate_type=kinds.REBUILD.predicate_type,
            predicate={"identical": identical},
        )
        world.say(statement, key=key)

    return attack


def _all(*attacks: Callable[[World], Any]) -> Callable[[World], None]:
    def attack(world: World) -> None:
        for each in attacks:
            each(world)

    return attack


def _honest(world: World) -> list[Statement]:
    from signed_world import statements

    return list(statements(world.made).values())


def _say(world: World, statements: list[Statement], key: str = "good") -> None:
    for each in statements:
        world.say(each, key=key)


def _older_says_more(world: World) -> None:
    found = replace(world.statement(f"spdx {ARM}"), type=OLDER_TYPE)
    world.say(replace(found, predicate={**found.predicate, "comment": "x"}), key="friend")


def _two_say(world: World) -> None:
    for each in _honest(world):
        world.say(each, key="older")
    found = world.statement("provenance")
    found.predicate["buildDefinition"]["internalParameters"]["epoch"] = 7
    world.drop(world.made.image, "provenance")
    world.say(world.statement("provenance"), on=world.made.image)
    world.say(found, on=world.made.image, key="older")


def _retag_other(world: World) -> None:
    from tamper_manifests import retag

    retag(world, world.other.image)


ASKED: dict[str, tuple[str, str, Callable[[World], None]]] = {
    "other-key": (
        "a policy that names another key than the signer's",
        f"signer-unknown {GONE}",
        _policy(OLDER),
    ),
    "other-key-unknown": (
        "a policy that names another key, and nobody knows the signer's",
        f"signer-unknown {GONE}",
        _policy(OLDER, _without_good),
    ),
    "own-keys-off": (
        "a policy that does not count one's own keys",
        f"signer-unknown {GONE}",
        _policy('[trust]\nown_keys = false\nkeys = ["stranger.pub"]\n'),
    ),
    "retired-named": (
        "a policy that names a key which was retired",
        f"signer-retired {GONE}",
        _policy('[trust]\nkeys = ["retired.pub"]\n', lambda world: world.resign(key="retired")),
    ),
    "two-signers": (
        "two signers asked for, there is one",
        GONE,
        _policy("[require]\nsignatures = 2\n"),
    ),
    "two-signatures-one-signer": (
        "two signers asked for, one signed twice",
        GONE,
        _policy(
            "[require]\nsignatures = 2\n",
            lambda world: _say(world, _honest(world)),
        ),
    ),
    "second-signer-in-part": (
        "two signers asked for, the second signed no SBOM",
        GONE,
        _policy(
            "[require]\nsignatures = 2\n",
            lambda world: _say(
                world, [world.statement(name) for name in ("provenance", "run")], key="older"
            ),
        ),
    ),
    "second-signer-unlike": (
        "two signers asked for, and they say different things",
        "evidence-ambiguous",
        _policy("[require]\nsignatures = 2\n", _two_say),
    ),
    "rebuild-asked": (
        "a rebuild asked for, there is none",
        GONE,
        _policy("[rebuilders]\nneeded = 1\n"),
    ),
    "rebuild-by-signer": (
        "a rebuild asked for, only the builder says so",
        GONE,
        _policy("[rebuilders]\nneeded = 1\n", _rebuild("good")),
    ),
    "rebuild-twice": (
        "two rebuilds asked for, one rebuilder says so twice",
        GONE,
        _policy("[rebuilders]\nneeded = 2\n", _all(_rebuild("older"), _rebuild("older"))),
    ),
    "rebuild-stranger": (
        "a rebuild asked for, a stranger says so",
        f"signer-unknown {GONE}",
        _policy("[rebuilders]\nneeded = 1\n", _rebuild("stranger")),
    ),
    "rebuild-not-named": (
        "a rebuild by a friend asked for, somebody else says so",
        GONE,
        _policy('[rebuilders]\nneeded = 1\nkeys = ["friend.pub"]\n', _rebuild("older")),
    ),
    "rebuild-different": (
        "a rebuild that says that it was different",
        "predicate",
        _policy(
            "[rebuilders]\nneeded = 1\n",
            _all(_rebuild("older"), _rebuild("friend", identical=False)),
        ),
    ),
    "rebuild-almost": (
        'a rebuild that says that it was "true", a text',
        "predicate",
        _policy("", _rebuild("older", identical="true")),
    ),
    "rebuilder-provenance": (
        "a provenance by somebody who may only rebuild",
        "signer-unknown",
        _policy(
            GOOD + '[rebuilders]\nneeded = 1\nkeys = ["friend.pub"]\n',
            _all(
                _rebuild("friend"),
                lambda world: world.say(
                    world.statement("provenance"), on=world.made.image, key="friend"
                ),
            ),
        ),
    ),
    "rebuild-required": (
        "a policy that asks for rebuilds of everything",
        GONE,
        _policy('[require]\nevidence = ["rebuild"]\n'),
    ),
    "v1-refused": (
        "a policy that accepts statements of version 0.1 alone",
        f"statement {GONE}",
        _policy('[accept]\nstatements = ["v0.1"]\n'),
    ),
    "v01-other-bom": (
        "another SBOM by a second signer as Statement v0.1, where the policy accepts those",
        "evidence-ambiguous",
        _policy('[accept]\nstatements = ["v1", "v0.1"]\n', _older_says_more),
    ),
    "builder": (
        "another builder asked for",
        "builder",
        _policy('[builder]\nids = ["urn:example:builder"]\n'),
    ),
    "builder-prefix": (
        "a builder asked for whose id only begins alike",
        "builder",
        _policy('[builder]\nids = ["urn:edge-buildkit:builder:pinned"]\n'),
    ),
    "recipe": (
        "another recipe asked for",
        "material",
        _policy('[recipe]\nnames = ["other"]\n'),
    ),
    "recipe-swapped": (
        "the policy's recipe asked for, another one given its name",
        "material name",
        _policy('[recipe]\nnames = ["tiny"]\n', _retag_other),
    ),
    "forbidden": (
        "a wheel in it that the policy forbids",
        "material",
        _policy('[materials]\nforbid = ["pkg:pypi/numpy@2.*"]\n'),
    ),
    "forbidden-debian": (
        "a Debian package of the engine that the policy forbids",
        "material",
        _policy('[materials]\nforbid = ["pkg:deb/debian/containerd@*"]\n'),
    ),
    "not-allowed": (
        "a wheel in it that the policy does not allow",
        "material",
        _policy('[materials]\nallow = ["pkg:deb/*"]\n'),
    ),
    "suite": (
        "packages of a suite that the policy does not allow",
        "material",
        _policy('[materials]\nsuites = ["bookworm", "bookworm-security"]\n'),
    ),
    "platform-ignored-stranger": (
        "strangers passed over, but the evidence is all theirs",
        GONE,
        _policy('[accept]\nothers = "ignore"\n', lambda world: world.resign(key="stranger")),
    ),
    "ignored-bad-signature": (
        "strangers passed over, but a trusted key's signature is bad",
        f"signature {GONE}",
        _policy(
            '[accept]\nothers = "ignore"\n',
            lambda world: world.resay(
                world.made.image, "run", lambda found: found.update(predicate={}), key=None
            ),
        ),
    ),
    "ignored-retired": (
        "strangers passed over, but a retired key is no stranger",
        f"signer-retired {GONE}",
        _policy('[accept]\nothers = "ignore"\n', _by("retired")),
    ),
    "ignored-malformed": (
        "strangers passed over, but a bundle is no bundle",
        "bundle",
        _policy(
            '[accept]\nothers = "ignore"\n',
            lambda world: world.hang(world.made.image, b"[]", kinds.PROVENANCE.predicate_type),
        ),
    ),
    "ignored-announced": (
        "strangers passed over, but a kind is announced as another",
        "predicate-type",
        _policy(
            '[accept]\nothers = "ignore"\n',
            lambda world: world.hang(
                world.made.image,
                world.read(world.bundle(world.made.image, "run")),
                kinds.PROVENANCE.predicate_type,
            ),
        ),
    ),
}

for _name, (_what, _reason, _attack) in ASKED.items():
    policies.add(f"policy-{_name}", _what, _reason, _attack)


@policies("a platform asked for that the image has not", "platform")
def policy_platform(world: World) -> None:
    world.ref = world.made.platforms["linux/amd64"]
    world.use_policy('[require]\nplatforms = ["linux/arm64"]\n')
