"""What the fuzz tests feed, and to whom: changes to a small corpus, by somebody who knows JSON."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from signed_world import make_lock

from buildkit.evidence import (
    bundle,
    kinds,
    policy,
    provenance,
    smoke,
    statement,
    strict,
    trust,
)
from buildkit.evidence.keys import KeyRing, public_key
from buildkit.evidence.policytypes import Policy
from buildkit.evidence.sbom import check, seen
from buildkit.evidence.verify import anchors, boms
from buildkit.evidence.verify.signatures import Anchors, open_bundle
from buildkit.lock import codec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from random import Random

    from buildkit.lock.types import DebianPin, WheelPin

CORPUS = Path(__file__).parent / "corpus"
LOCK = make_lock("tiny", "1.0.0")
PINS: tuple[DebianPin | WheelPin, ...] = (
    *LOCK.platforms["linux/arm64"].debian,
    *LOCK.platforms["linux/arm64"].wheels,
)

# What parsers get wrong.
VALUES: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    2**63,
    1.5,
    1e308,
    "",
    "x",
    "../../etc/passwd",
    "sha256:" + "0" * 64,
    "\x00",
    "\u202e",
    "\ud800",
    "a" * 5000,
    [],
    {},
    [[]],
    {"": {}},
    [None],
    {"a": [1, {"b": None}]},
)
TOKENS = (
    b"null",
    b"[]",
    b"{}",
    b"-1",
    b"1e999",
    b"NaN",
    b'"\\ud800"',
    b"\xff",
    b"\x00",
    b"\xef\xbb\xbf",
    b'"digest":',
    b"[" * 500,
    b'{"a":' * 500,
    b"9" * 5000,
    b",",
    b'"',
)


def corpus(kind: str) -> list[bytes]:
    """The kept inputs of one kind: whole ones, and those that once did harm."""
    return [file.read_bytes() for file in sorted((CORPUS / kind).iterdir())]


def mutated(random: Random, seeds: list[bytes]) -> bytes:
    """A seed, changed here and there."""
    data = random.choice(seeds)
    for _ in range(random.choice((1, 1, 1, 2, 4, 8))):
        document = _load(data) if random.random() < 0.7 else None
        if isinstance(document, dict | list) and document:
            _change(random, document, _load(random.choice(seeds)))
            data = json.dumps(document, ensure_ascii=random.random() < 0.5).encode(
                "utf-8", "surrogatepass"
            )
        else:
            data = _bytes(random, data, random.choice(seeds))
    return data[:200_000]


def _load(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) in a document."""
    pending = [value]
    while pending:
        each = pending.pop()
        items = each.items() if isinstance(each, dict) else enumerate(each)
        for key, inner in list(items):
            yield each, key
            if isinstance(inner, dict | list):
                pending.append(inner)


def _change(random: Random, document: Any, other: Any) -> None:
    container, key = random.choice(list(_places(document)))
    match random.randrange(6):
        case 0:
            del container[key]
        case 1:
            container[key] = [container[key]]
        case 2 if isinstance(container, list):
            container.append(container[key])
        case 2:
            container[random.choice(("", "x", "digest", key + " "))] = container[key]
        case 3 if isinstance(other, dict | list) and other:
            elsewhere, name = random.choice(list(_places(other)))
            container[key] = elsewhere[name]
        case 4 if isinstance(container[key], str):
            text = container[key]
            at = random.randrange(len(text) + 1)
            container[key] = (
                text[:at] + random.choice(("", "\x00", "/", "é", "=", "A")) + text[at + 1 :]
            )
        case _:
            container[key] = random.choice(VALUES)


def _bytes(random: Random, data: bytes, other: bytes) -> bytes:
    at = random.randrange(len(data) + 1)
    end = min(len(data), at + random.choice((0, 1, 2, 8, 64, 1024)))
    match random.randrange(6):
        case 0:
            return data[:at] + data[end:]
        case 1:
            return data[:end] + data[at:]
        case 2:
            return data[:at] + random.choice(TOKENS) + data[end:]
        case 3:
            return data[:at] + other[random.randrange(len(other) + 1) :]
        case 4 if data[at:]:
            return data[:at] + bytes([data[at] ^ (1 << random.randrange(8))]) + data[at + 1 :]
        case _:
            return data[:at]


def _predicate(data: bytes) -> dict[str, Any]:
    found = strict.load(data, "fuzz")
    return found if isinstance(found, dict) else {}


def _bom(kind: kinds.Kind) -> Callable[[bytes], object]:
    def feed(data: bytes) -> object:
        document = _predicate(data)
        named = boms.packages(document, kind)
        return check.missing(document, kind, PINS), check.about(document, kind), named

    return feed


def _anchors() -> Anchors:
    key = public_key((CORPUS / "good.pub").read_bytes(), "good")
    ring = KeyRing(folder=CORPUS, keys=(key,))
    return anchors.load(Policy(), CORPUS, ring, datetime.now(UTC))


def _trust(data: bytes) -> object:
    root = trust.parse((CORPUS / "root" / "standin.json").read_bytes(), "root")
    return trust.verify(bundle.parse(data, "fuzz"), root, "fuzz")


def _test_result(data: bytes) -> object:
    return smoke.read_result(statement.parse(data, "fuzz"), "fuzz")


def _verdict(data: bytes) -> object:
    return smoke.read_verdict(statement.parse(data, "fuzz"), "fuzz")


# Name → (kind of corpus, who is fed).
TARGETS: dict[str, tuple[str, Callable[[bytes], object]]] = {
    "strict": ("bundle", lambda data: strict.load(data, "fuzz")),
    "bundle": ("bundle", lambda data: bundle.parse(data, "fuzz")),
    "signed": (
        "bundle",
        lambda data: open_bundle(data, "fuzz", Policy(), _anchors()),
    ),
    "certified": ("certified", _trust),
    "statement": ("statement", lambda data: statement.parse(data, "fuzz", older=True).payload()),
    "provenance": ("provenance", lambda data: provenance.read(_predicate(data), "fuzz")),
    "test-result": ("test-result", _test_result),
    "verdict": ("verdict", _verdict),
    "cyclonedx": ("cyclonedx", _bom(kinds.CYCLONEDX)),
    "spdx": ("spdx", _bom(kinds.SPDX)),
    "seen": ("seen", lambda data: seen.parse(data, "fuzz")),
    "lock": ("lock", lambda data: codec.parse(data, "fuzz")),
    "policy": ("policy", lambda data: policy.parse(data, "fuzz")),
    "root": ("root", lambda data: trust.parse(data, "fuzz")),
}
