"""What changes nothing that matters, and what cannot be decided."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tamper import Group
from tamper_bundles import _resaid
from tamper_bytes import ARM
from tamper_trust import GOOD, _all, _policy, _rebuild, _review

from buildkit.evidence.statement import OLDER_TYPE

if TYPE_CHECKING:
    from collections.abc import Callable

    from signed_world import World

controls = Group("Controls")


@controls("nothing", "=")
def nothing(world: World) -> None:
    world.ref = "tiny:1.0.0"


@controls("the entries of `index.json` in the other order", "=")
def entries_reversed(world: World) -> None:
    world.entries(lambda entries: entries.reverse())


@controls("the entries of `index.json` sorted by digest", "=")
def entries_sorted(world: World) -> None:
    world.entries(lambda entries: sorted(entries, key=lambda each: str(each["digest"])))


@controls("every entry of a bundle twice", "=")
def entries_doubled(world: World) -> None:
    world.entries(lambda entries: entries + [each for each in entries if "artifactType" in each])


@controls("`index.json` with spaces and its keys in another order", "=")
def index_spaces(world: World) -> None:
    document = dict(reversed(world.index().items()))
    world.save_raw_index(json.dumps(document, indent=4).encode())


@controls("artifact types and annotations taken from the entries of bundles", "=")
def entries_bare(world: World) -> None:
    def strip(entries: list[Any]) -> None:
        for entry in entries:
            entry.pop("artifactType", None)
            if "org.opencontainers.image.ref.name" not in entry.get("annotations", {}):
                entry.pop("annotations", None)

    world.entries(strip)


@controls("a key in `index.json` that nobody knows", "=")
def index_more(world: World) -> None:
    world.save_index({**world.index(), "x": 1})


@controls("blobs that nothing names", "=")
def more_blobs(world: World) -> None:
    world.put(b"nobody wants me")
    (world.root / "store/blobs/sha256/no-digest").write_bytes(b"x")


@controls("a blob of another artifact changed", "=")
def other_changed(world: World) -> None:
    world.flip(world.other.image)


@controls("another artifact's evidence taken away", "=")
def other_unsigned(world: World) -> None:
    world.drop(world.other.image)


@controls("the image asked for by its digest", "=")
def by_digest(world: World) -> None:
    world.ref = world.made.image


@controls("the image asked for by 12 digits", "=")
def by_prefix(world: World) -> None:
    world.ref = world.made.image.removeprefix("sha256:")[:12]


@controls("one platform asked for", "=")
def one_platform(world: World) -> None:
    world.ref = world.made.platforms[ARM]


@controls("the model asked for", "=")
def one_model(world: World) -> None:
    world.ref = "tiny-model:1.0.0"


@controls("one variant of the model asked for", "=")
def one_variant(world: World) -> None:
    world.ref = world.made.variants["pi5"]


@controls("the model asked for in a store without the image", "=")
def model_alone(world: World) -> None:
    world.ref = world.made.models
    for digest in (world.made.image, *world.made.platforms.values()):
        world.path(digest).unlink()


@controls("the other recipe in the same store", "=")
def other_recipe(world: World) -> None:
    world.ref = "other:1.0.0"


@controls("a name of the user's own given to the image", "=")
def own_name(world: World) -> None:
    def rename(entries: list[Any]) -> None:
        for entry in entries:
            if entry["digest"] == world.made.image:
                entry["annotations"]["org.opencontainers.image.ref.name"] = "shops:stable"

    world.entries(rename)
    world.ref = "shops:stable"


@controls("everything signed with a key that was replaced since", "=")
def older_key(world: World) -> None:
    world.resign(key="older")


@controls("everything signed with somebody else's key that was imported", "=")
def friend_key(world: World) -> None:
    world.resign(key="friend")


@controls("everything signed with an Ed25519 key", "=")
def ed25519_key(world: World) -> None:
    world.resign(key="ed25519")


@controls("the same provenance signed by a second trusted key", "=")
def second_signer(world: World) -> None:
    world.say(world.statement("provenance"), key="older")


@controls("the same provenance signed again with the same key", "=")
def signed_again(world: World) -> None:
    world.say(world.statement("provenance"))


@controls("a second run, which says something else: it may", "=")
def second_run(world: World) -> None:
    found = world.statement("run")
    found.predicate["started"] = "2026-11-22T05:00:00Z"  # type: ignore[index]
    world.say(found)


@controls("a run whose bytes are not canonical: only what can be made again must be", "=")
def run_spaces(world: World) -> None:
    world.resay(world.made.image, "run", lambda _: None, canonical_bytes=False)


@controls("a referrer without annotations: they are hints", "=")
def no_annotations(world: World) -> None:
    (entry,) = world.bundles(world.made.image, "provenance")
    world.remake(entry["digest"], lambda document: document.pop("annotations") and None)


@controls("a bundle with the empty fields that cosign writes", "=")
def cosign_fields(world: World) -> None:
    def fill(document: Any) -> None:
        document["verificationMaterial"] |= {"tlogEntries": [], "timestampVerificationData": {}}
        document["dsseEnvelope"]["signatures"][0]["keyid"] = ""

    world.rebundle(world.made.image, "provenance", fill)


@controls("the outside of a bundle in another spelling: nobody signed that", "=")
def bundle_spaces(world: World) -> None:
    world.rebundle(
        world.made.image, "run", lambda document: json.dumps(document, indent=2).encode()
    )


@controls("an artifact of another kind hung on the image", "=")
def other_artifact(world: World) -> None:
    world.hang(world.made.image, b"hello", "", manifest={"artifactType": "text/plain"})


CONTROLLED: dict[str, tuple[str, Callable[[World], None]]] = {
    "named-key": ("a policy that names the signer's key", _policy(GOOD)),
    "named-and-own": (
        "a policy that names a stranger and counts one's own keys too",
        _policy('[trust]\nkeys = ["stranger.pub"]\nown_keys = true\n'),
    ),
    "two-signers": (
        "two signers asked for, and there are two",
        _policy("[require]\nsignatures = 2\n", lambda world: _again(world, "older")),
    ),
    "older-statement": (
        "a run as Statement v0.1, where the policy accepts it",
        _policy(
            '[accept]\nstatements = ["v1", "v0.1"]\n',
            _resaid(lambda found: found.update(_type=OLDER_TYPE), kind="run"),
        ),
    ),
    "older-bom": (
        "the same SBOM by a second signer as Statement v0.1, where the policy accepts it",
        _policy(
            '[accept]\nstatements = ["v1", "v0.1"]\n',
            lambda world: world.say(
                replace(world.statement(f"spdx {ARM}"), type=OLDER_TYPE), key="friend"
            ),
        ),
    ),
    "ignored-stranger": (
        "a stranger's provenance beside the good one, where strangers are passed over",
        _policy(
            '[accept]\nothers = "ignore"\n',
            lambda world: world.say(
                world.statement("provenance"), on=world.made.image, key="stranger"
            ),
        ),
    ),
    "ignored-kind": (
        "a review of an unknown kind, where those are passed over",
        _policy('[accept]\nothers = "ignore"\n', lambda world: world.say(_review(world))),
    ),
    "accepted-kind": (
        "a review of a kind that the policy accepts",
        _policy(
            '[accept]\npredicate_types = ["https://example.org/review/v1"]\n',
            lambda world: world.say(_review(world)),
        ),
    ),
    "rebuilt": (
        "a rebuild asked for, and there is one",
        _policy("[rebuilders]\nneeded = 1\n", _rebuild("older")),
    ),
    "rebuilt-twice": (
        "two of three rebuilders asked for, and there are two",
        _policy(
            '[rebuilders]\nneeded = 2\nkeys = ["friend.pub", "second.pub", "older.pub"]\n',
            _all(_rebuild("friend"), _rebuild("second")),
        ),
    ),
    "builder": (
        "the builder that it was asked for",
        _policy('[builder]\nids = ["urn:edge-buildkit:builder:*"]\n'),
    ),
    "materials": (
        "packages that the policy allows",
        _policy(
            '[materials]\nallow = ["pkg:deb/debian/*", "pkg:pypi/*"]\n'
            'forbid = ["pkg:pypi/evil@*"]\nsuites = ["bookworm", "bookworm-security", "trixie"]\n'
        ),
    ),
    "recipe": (
        "the recipe that it was asked for",
        _policy('[recipe]\nnames = ["tiny", "other"]\n'),
    ),
    "platforms": (
        "the platforms that it was asked for",
        _policy('[require]\nplatforms = ["linux/arm64", "linux/amd64"]\n'),
    ),
    "less": (
        "no SBOM, where the policy asks for provenance alone",
        _policy(
            '[require]\nevidence = ["provenance"]\n',
            lambda world: world.drop(world.made.platforms[ARM], "spdx"),
        ),
    ),
}

for _name, (_what, _attack) in CONTROLLED.items():
    controls.add(f"control-{_name}", _what, "=", _attack)


def _again(world: World, key: str) -> None:
    from signed_world import statements

    for each in statements(world.made).values():
        world.say(each, key=key)


# What cannot be decided -------------------------------------------------------------------------

undecided = Group("Cannot be decided")


def _index(data: bytes) -> Callable[[World], None]:
    return lambda world: world.save_raw_index(data)


def _named(world: World, digest: str) -> dict[str, Any]:
    return {
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "digest": digest,
        "size": len(world.read(digest)),
        "annotations": {"org.opencontainers.image.ref.name": "tiny:1.0.0"},
    }


def _swap_hints(world: World, names: tuple[str, ...] = ("hint",)) -> None:
    file = world.root / "keys/ring.json"
    document = json.loads(file.read_bytes())
    one, two = document["keys"][:2]
    for name in names:
        one[name], two[name] = two[name], one[name]
    file.write_text(json.dumps(document))


def _newer_policy(world: World) -> None:
    world.use_policy("[require]\n")
    (world.root / "policy.toml").write_text("schema = 2\n")


UNREADABLE: dict[str, tuple[str, Callable[[World], Any]]] = {
    "no-such-name": (
        "a name that is not in the store",
        lambda world: setattr(world, "ref", "nobody:1.0.0"),
    ),
    "no-such-digest": (
        "a digest that is not in the store",
        lambda world: setattr(world, "ref", "sha256:" + "0" * 64),
    ),
    "path-as-name": (
        "a path in the place of a name",
        lambda world: setattr(world, "ref", "../../etc/passwd"),
    ),
    "no-store": ("no store", lambda world: (world.root / "store/oci-layout").unlink()),
    "no-index": (
        "a store without `index.json`",
        lambda world: (world.root / "store/index.json").unlink(),
    ),
    "index-cut": (
        "`index.json` cut short",
        lambda world: world.save_raw_index(json.dumps(world.index()).encode()[:-9]),
    ),
    "index-empty": ("an empty `index.json`", _index(b"")),
    "index-deep": ("an `index.json` of 100 000 nested lists", _index(b"[" * 100_000)),
    "index-twice": (
        "a key twice in `index.json`",
        _index(b'{"schemaVersion":2,"schemaVersion":2}'),
    ),
    "index-path": (
        "an entry in `index.json` whose digest is a path",
        lambda world: world.entries(
            lambda entries: [
                *entries,
                {**entries[0], "digest": "sha256:../../../../etc/passwd"},
            ]
        ),
    ),
    "index-two-names": (
        "one name for two images",
        lambda world: world.entries(lambda entries: [*entries, _named(world, world.other.image)]),
    ),
    "policy-gone": ("a policy that is nowhere", lambda world: setattr(world, "policy", "x")),
    "policy-unknown-key": ("a policy with an unknown key", _policy("[require]\nevidnce = []\n")),
    "policy-not-toml": ("a policy that is not TOML", _policy("[[")),
    "policy-newer": (
        "a policy of a later version",
        _newer_policy,
    ),
    "policy-key-gone": (
        "a policy that names a key which is nowhere",
        _policy('[trust]\nkeys = ["nobody.pub"]\n'.replace("nobody", "nowhere")),
    ),
    "policy-key-path": (
        "a policy that names a folder as a key",
        _policy('[trust]\nkeys = ["keys"]\n'),
    ),
    "ring-cut": (
        "a key ring cut short",
        lambda world: (world.root / "keys/ring.json").write_bytes(b"{"),
    ),
    "ring-swapped": (
        "a key ring in which one key has the hint of another",
        _swap_hints,
    ),
    "ring-other-key": (
        "a key ring in which one name, id and hint lead to another key",
        lambda world: _swap_hints(world, ("id", "hint", "algorithm")),
    ),
    "ring-open": (
        "a key ring that others may write to",
        lambda world: (world.root / "keys").chmod(0o777),
    ),
}

for _name, (_what, _attack) in UNREADABLE.items():
    undecided.add(f"undecided-{_name}", _what, "?", _attack)
