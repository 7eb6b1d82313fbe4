"""Bundles, envelopes and statements, and what hangs where."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from signed_world import pem, signature, signed
from tamper import Group
from tamper_bytes import ARM

from buildkit import canonical, media
from buildkit.evidence import bundle as bundles
from buildkit.evidence import kinds, referrers
from buildkit.evidence.dsse import pae
from buildkit.evidence.keys import public_key
from buildkit.evidence.statement import OLDER_TYPE, PAYLOAD_TYPE, Subject

if TYPE_CHECKING:
    from collections.abc import Callable

    from signed_world import World

GONE = "evidence-missing"


# Bundles ----------------------------------------------------------------------------------------

forms = Group("Bundles and envelopes")


def _changed(change: Callable[[Any], Any], kind: str = "provenance") -> Callable[[World], None]:
    return lambda world: world.rebundle(world.made.image, kind, change)


def _envelope(change: Callable[[Any], Any]) -> Callable[[World], None]:
    return _changed(lambda document: change(document["dsseEnvelope"]))


def _material(value: Any) -> Callable[[World], None]:
    return _changed(lambda document: document.update(verificationMaterial=value))


def _signatures(change: Callable[[list[Any]], Any]) -> Callable[[World], None]:
    return _envelope(lambda envelope: change(envelope["signatures"]))


def _payload(change: Callable[[bytes], bytes]) -> Callable[[World], None]:
    def changed(envelope: Any) -> None:
        data = change(base64.b64decode(envelope["payload"]))
        envelope["payload"] = base64.b64encode(data).decode()

    return _envelope(changed)


def _signed_bytes(
    make: Callable[[Any], bytes], kind: str = PAYLOAD_TYPE
) -> Callable[[World], None]:
    """Rightly signed bytes in the place of the provenance; made from the honest bundle."""

    def changed(document: Any) -> bytes:
        statement = json.loads(base64.b64decode(document["dsseEnvelope"]["payload"]))
        return signed(make(statement), "good", kind)

    return _changed(changed)


def _raw(change: Callable[[bytes], bytes]) -> Callable[[World], None]:
    """The bundle's own bytes changed, and its digest recomputed."""
    return lambda world: _replace(world, change)


def _replace(world: World, change: Callable[[bytes], bytes]) -> None:
    digest = world.bundle(world.made.image, "provenance")
    world.replace(digest, change(world.read(digest)))


def _hint(name: str) -> str:
    return public_key(pem(name), name).hint


def _shifted(world: World) -> None:
    def changed(document: Any) -> Any:
        payload = base64.b64decode(document["dsseEnvelope"]["payload"])
        found = signature("good", pae(PAYLOAD_TYPE + payload[:1].decode(), payload[1:]))
        document["dsseEnvelope"]["signatures"] = [{"sig": base64.b64encode(found).decode()}]

    world.rebundle(world.made.image, "provenance", changed)


def _bare(world: World) -> None:
    def changed(document: Any) -> Any:
        payload = base64.b64decode(document["dsseEnvelope"]["payload"])
        found = base64.b64encode(signature("good", payload)).decode()
        document["dsseEnvelope"]["signatures"] = [{"sig": found}]

    world.rebundle(world.made.image, "provenance", changed)


FORMS: dict[str, tuple[str, str, Callable[[World], None]]] = {
    "bundle-v01": (
        "a bundle of version 0.1",
        "bundle",
        _changed(
            lambda document: document.update(
                mediaType="application/vnd.dev.sigstore.bundle+json;version=0.1"
            )
        ),
    ),
    "bundle-v04": (
        "a bundle of a later version",
        "bundle",
        _changed(
            lambda document: document.update(
                mediaType="application/vnd.dev.sigstore.bundle.v0.4+json"
            )
        ),
    ),
    "bundle-no-type": (
        "no media type",
        "bundle",
        _changed(lambda document: document.pop("mediaType") and None),
    ),
    "bundle-extra": (
        "a key that no bundle has",
        "bundle",
        _changed(lambda document: document.update(evil=1)),
    ),
    "bundle-message": (
        "a signature over a message in the place of an envelope",
        "bundle",
        _changed(
            lambda document: {
                "mediaType": document["mediaType"],
                "verificationMaterial": document["verificationMaterial"],
                "messageSignature": {"signature": "AAAA"},
            }
        ),
    ),
    "bundle-list": (
        "a list in the place of a bundle",
        "bundle",
        _changed(lambda document: [document]),
    ),
    "bundle-null": ("`null` in the place of a bundle", "bundle", _raw(lambda _: b"null")),
    "bundle-number": ("a number in the place of a bundle", "bundle", _raw(lambda _: b"1")),
    "bundle-image": (
        "an image index in the place of a bundle",
        "bundle",
        lambda world: _replace(world, lambda _: world.read(world.made.image)),
    ),
    "envelope-null": (
        "no envelope",
        "bundle",
        _changed(lambda document: document.update(dsseEnvelope=None)),
    ),
    "envelope-extra": (
        "a key that no envelope has",
        "bundle",
        _envelope(lambda each: each.update(evil=1)),
    ),
    "material-none": ("neither key nor certificate", "bundle", _material({})),
    "material-text": ("a text as verification material", "bundle", _material("x")),
    "material-both": (
        "a key and a certificate",
        "bundle",
        _changed(
            lambda document: document["verificationMaterial"].update(
                certificate={"rawBytes": "AAAA"}
            )
        ),
    ),
    "hint-empty": ("an empty key hint", "bundle", _material({"publicKey": {"hint": ""}})),
    "hint-list": ("a key hint that is a list", "bundle", _material({"publicKey": {"hint": []}})),
    "hint-missing": ("a key without a hint", "bundle", _material({"publicKey": {}})),
    "hint-raw-key": (
        "the key itself carried along",
        "bundle",
        _material({"publicKey": {"hint": "x", "rawBytes": "AAAA"}}),
    ),
    "hint-unknown": (
        "a hint of a key that is nowhere",
        "signer-unknown",
        _material({"publicKey": {"hint": "x"}}),
    ),
    "hint-other": (
        "the hint of another key that is trusted",
        "signature",
        _material({"publicKey": {"hint": _hint("older")}}),
    ),
    "hint-other-algorithm": (
        "the hint of a key of another algorithm",
        "signature",
        _material({"publicKey": {"hint": _hint("ed25519")}}),
    ),
    "certificate-unasked": (
        "a certificate, where the policy names no identities",
        "signer-unknown",
        _material({"certificate": {"rawBytes": "AAAA"}}),
    ),
    "signatures-none": ("no signature", "bundle", _signatures(lambda found: found.clear())),
    "signatures-two": (
        "two signatures, both good",
        "bundle",
        _signatures(lambda found: found.append(found[0])),
    ),
    "signatures-second-bad": (
        "two signatures, of which the second is bad",
        "bundle",
        _signatures(lambda found: found.append({"sig": "AAAA"})),
    ),
    "signatures-first-bad": (
        "two signatures, of which the first is bad",
        "bundle",
        _signatures(lambda found: found.insert(0, {"sig": "AAAA"})),
    ),
    "signatures-object": (
        "`signatures` is an object",
        "bundle",
        _envelope(lambda envelope: envelope.update(signatures={"sig": "AAAA"})),
    ),
    "signature-empty": (
        "an empty signature",
        "bundle",
        _signatures(lambda found: found[0].update(sig="")),
    ),
    "signature-null": (
        "a signature that is `null`",
        "bundle",
        _signatures(lambda found: found[0].update(sig=None)),
    ),
    "signature-zero": (
        "a signature of zeros",
        "signature",
        _signatures(lambda found: found[0].update(sig=base64.b64encode(bytes(64)).decode())),
    ),
    "signature-zero-der": (
        "a signature with r = s = 0 (CVE-2022-21449)",
        "signature",
        _signatures(
            lambda found: found[0].update(
                sig=base64.b64encode(bytes.fromhex("3006020100020100")).decode()
            )
        ),
    ),
    "signature-not-base64": (
        "a signature with a character that is not base64",
        "bundle",
        _signatures(lambda found: found[0].update(sig="!" + found[0]["sig"][1:])),
    ),
    "signature-spaces": (
        "a signature with line breaks in its base64",
        "bundle",
        _signatures(lambda found: found[0].update(sig="\n" + found[0]["sig"])),
    ),
    "signature-longer": (
        "a signature with a byte added",
        "signature",
        _signatures(
            lambda found: found[0].update(
                sig=base64.b64encode(base64.b64decode(found[0]["sig"]) + b"\0").decode()
            )
        ),
    ),
    "signature-bit": (
        "one bit of the signature changed",
        "signature",
        _signatures(
            lambda found: found[0].update(
                sig=base64.b64encode(
                    base64.b64decode(found[0]["sig"])[:-1]
                    + bytes([base64.b64decode(found[0]["sig"])[-1] ^ 1])
                ).decode()
            )
        ),
    ),
    "signature-extra": (
        "a signature with a certificate of its own",
        "bundle",
        _signatures(lambda found: found[0].update(cert="AAAA")),
    ),
    "payload-bit": (
        "one bit of the payload changed",
        "signature",
        _payload(lambda data: data[:-3] + bytes([data[-3] ^ 1]) + data[-2:]),
    ),
    "payload-space": (
        "a space added to the payload",
        "signature",
        _payload(lambda data: data + b" "),
    ),
    "payload-empty": ("an empty payload", "bundle", _payload(lambda _: b"")),
    "payload-url-base64": (
        "a payload in the base64 of URLs",
        "bundle",
        _envelope(lambda each: each.update(payload="-_" + each["payload"][2:])),
    ),
    "type-other": (
        "the payload called plain JSON",
        "payload-type",
        _envelope(lambda each: each.update(payloadType="application/json")),
    ),
    "type-missing": (
        "a payload without a type",
        "payload-type",
        _envelope(lambda each: each.pop("payloadType") and None),
    ),
    "type-list": (
        "a payload type that is a list",
        "payload-type",
        _envelope(lambda each: each.update(payloadType=[])),
    ),
    "type-parameter": (
        "a payload type with a parameter",
        "payload-type",
        _envelope(lambda each: each.update(payloadType=PAYLOAD_TYPE + "; charset=utf-8")),
    ),
    "type-signed-other": (
        "signed as another type, called an in-toto statement (type confusion)",
        "signature",
        _changed(
            lambda document: json.loads(
                signed(
                    base64.b64decode(document["dsseEnvelope"]["payload"]), "good", "text/plain"
                ).replace(b"text/plain", PAYLOAD_TYPE.encode())
            )
        ),
    ),
    "type-signed-honest": (
        "signed as another type, and called that",
        "payload-type",
        _signed_bytes(canonical.dump, "text/plain"),
    ),
    "pae-shifted": (
        "signed with a byte moved from the payload to its type",
        "signature",
        _shifted,
    ),
    "bare-signature": (
        "the payload signed without its envelope",
        "signature",
        _bare,
    ),
    "json-twice": (
        "a key twice in the bundle: two readers see two signatures",
        "json",
        _raw(lambda data: data.replace(b'"payload":', b'"payload":"AAAA","payload":', 1)),
    ),
    "json-cut": ("a bundle cut short", "json", _raw(lambda data: data[: len(data) // 2])),
    "json-empty": ("an empty bundle", "json", _raw(lambda _: b"")),
    "json-latin1": (
        "a bundle that is not UTF-8",
        "json",
        _raw(lambda data: data[:-1] + b',"\xff":1}'),
    ),
    "json-bom": (
        "a bundle with a byte-order mark",
        "json",
        _raw(lambda data: b"\xef\xbb\xbf" + data),
    ),
    "json-utf16": ("a bundle in UTF-16", "json", _raw(lambda data: data.decode().encode("utf-16"))),
    "json-nan": ("a bundle with NaN", "json", _raw(lambda data: data[:-1] + b',"x":NaN}')),
    "json-two": ("two bundles in one", "json", _raw(lambda data: data + data)),
    "json-comment": ("a bundle with a comment", "json", _raw(lambda data: b"/**/" + data)),
    "json-surrogate": (
        "a bundle with half a character",
        "json",
        _raw(lambda data: data[:-1] + b',"\\ud800":1}'),
    ),
    "json-deep": (
        "a bundle of 100 000 nested lists",
        "too-large",
        _raw(lambda _: b"[" * 100_000 + b"]" * 100_000),
    ),
    "json-deep-objects": (
        "a bundle of 2 000 nested objects",
        "too-large",
        _raw(lambda _: b'{"a":' * 2000 + b"1" + b"}" * 2000),
    ),
    "json-deep-unclosed": (
        "a bundle of 100 000 opened lists",
        "too-large",
        _raw(lambda _: b"[" * 100_000),
    ),
    "json-huge": (
        "a bundle of 33 MB",
        "too-large",
        _raw(lambda data: data + b" " * (33 << 20)),
    ),
    "json-huge-number": (
        "a bundle with a number of 10 000 digits",
        "json",
        _raw(lambda data: data[:-1] + b',"x":' + b"1" * 10_000 + b"}"),
    ),
}

for _name, (_what, _reason, _attack) in FORMS.items():
    forms.add(_name, _what, f"{_reason} {GONE}", _attack)


# Statements -------------------------------------------------------------------------------------

said = Group("Statements, rightly signed")


def _resaid(
    change: Callable[[Any], Any], kind: str = "provenance", **how: Any
) -> Callable[[World], None]:
    return lambda world: world.resay(world.made.image, kind, change, **how)


STATEMENTS: dict[str, tuple[str, str, Callable[[World], None]]] = {
    "statement-v01": (
        "a statement of version 0.1 (a downgrade)",
        "statement",
        _resaid(lambda found: found.update(_type=OLDER_TYPE)),
    ),
    "statement-v2": (
        "a statement of a later version",
        "statement",
        _resaid(lambda found: found.update(_type="https://in-toto.io/Statement/v2")),
    ),
    "statement-no-type": (
        "a statement without a version",
        "statement",
        _resaid(lambda found: found.pop("_type") and None),
    ),
    "statement-link": (
        "an in-toto link in the place of a statement",
        "statement",
        _resaid(lambda _: {"_type": "link", "name": "build", "materials": {}, "products": {}}),
    ),
    "statement-extra": (
        "a key that no statement has",
        "statement",
        _resaid(lambda found: found.update(evil=1)),
    ),
    "statement-list": (
        "a list in the place of a statement",
        "statement",
        _resaid(lambda found: [found]),
    ),
    "statement-text": ("a payload that is not JSON", "json", _resaid(lambda _: b"hello")),
    "statement-twice": (
        "a key twice in the statement",
        "json",
        _resaid(lambda found: canonical.dump(found)[:-1] + b',"predicateType":"x:y"}'),
    ),
    "statement-cut": (
        "a statement cut short",
        "json",
        _resaid(lambda found: canonical.dump(found)[:-9]),
    ),
    "statement-deep": (
        "a statement of 100 000 nested lists",
        "too-large",
        _resaid(lambda _: b"[" * 100_000 + b"]" * 100_000),
    ),
    "statement-deep-predicate": (
        "a predicate nested 100 levels deep",
        "too-large",
        _resaid(lambda found: found["predicate"].update(x=json.loads("[" * 100 + "]" * 100))),
    ),
    "statement-spaces": (
        "a statement whose bytes are not canonical",
        "statement",
        _resaid(lambda _: None, canonical_bytes=False),
    ),
    "statement-escapes": (
        "a statement with letters written as escapes",
        "statement",
        _resaid(
            lambda found: canonical.dump(found).replace(b'"recipe.lock"', b'"recipe\\u002elock"', 1)
        ),
    ),
    "subjects-none": (
        "a statement about nothing",
        "statement",
        _resaid(lambda found: found.update(subject=[])),
    ),
    "subjects-object": (
        "`subject` is an object",
        "statement",
        _resaid(lambda found: found.update(subject={})),
    ),
    "subjects-text": (
        "a subject that is a text",
        "statement",
        _resaid(lambda found: found.update(subject=["x"])),
    ),
    "subjects-twice": (
        "one subject twice",
        "statement",
        _resaid(lambda found: found["subject"].append(found["subject"][0])),
    ),
    "subjects-many": (
        "a statement about 2 000 things",
        "statement",
        _resaid(
            lambda found: found.update(
                subject=[{"name": "", "digest": {"sha256": f"{at:064x}"}} for at in range(2000)]
            )
        ),
    ),
    "subjects-sha1": (
        "a subject by SHA-1 alone",
        "statement",
        _resaid(lambda found: found["subject"][0].update(digest={"sha1": "0" * 40})),
    ),
    "subjects-sha512-too": (
        "a subject with a second digest, which nobody checks",
        "statement",
        _resaid(lambda found: found["subject"][0]["digest"].update(sha512="0" * 128)),
    ),
    "subjects-upper": (
        "a subject in capital letters",
        "statement",
        _resaid(
            lambda found: found["subject"][0]["digest"].update(
                sha256=found["subject"][0]["digest"]["sha256"].upper()
            )
        ),
    ),
    "subjects-short": (
        "a subject with a short digest",
        "statement",
        _resaid(lambda found: found["subject"][0]["digest"].update(sha256="0" * 63)),
    ),
    "subjects-name": (
        "a subject whose name is a number",
        "statement",
        _resaid(lambda found: found["subject"][0].update(name=1)),
    ),
    "subjects-uri": (
        "a subject with a URI",
        "statement",
        _resaid(lambda found: found["subject"][0].update(uri="https://example.org")),
    ),
    "predicate-list": (
        "a predicate that is a list",
        "statement",
        _resaid(lambda found: found.update(predicate=[])),
    ),
    "predicate-null": (
        "no predicate",
        "statement",
        _resaid(lambda found: found.pop("predicate") and None),
    ),
    "predicate-type-null": (
        "no predicate type",
        "statement",
        _resaid(lambda found: found.pop("predicateType") and None),
    ),
    "predicate-type-relative": (
        "a predicate type that is no URI",
        "statement",
        _resaid(lambda found: found.update(predicateType="provenance")),
    ),
    "predicate-type-swapped": (
        "a run that calls itself provenance",
        "predicate-type",
        _resaid(
            lambda found: found.update(predicateType=kinds.PROVENANCE.predicate_type), kind="run"
        ),
    ),
    "predicate-type-unknown": (
        "a kind of evidence that nobody knows, in the place of the provenance",
        "predicate-type",
        _resaid(lambda found: found.update(predicateType="https://example.org/evil")),
    ),
    "predicate-type-newer": (
        "a later version of provenance",
        "predicate-type",
        _resaid(lambda found: found.update(predicateType="https://slsa.dev/provenance/v2")),
    ),
    "subjects-other": (
        "a provenance about another recipe's image",
        "subject",
        lambda world: world.resay(
            world.made.image,
            "provenance",
            lambda found: found.update(
                subject=[{"name": "x", "digest": {"sha256": world.other.image[7:]}}]
            ),
        ),
    ),
}

for _name, (_what, _reason, _attack) in STATEMENTS.items():
    said.add(_name, _what, f"{_reason} {GONE}", _attack)


@said("a provenance about image and model, and something else", "subject")
def subjects_more(world: World) -> None:
    world.resay(
        world.made.image,
        "provenance",
        lambda found: found["subject"].append({"name": "x", "digest": {"sha256": "0" * 64}}),
    )


@said("a provenance that leaves the model out", "evidence-missing subject")
def subjects_no_model(world: World) -> None:
    gone = {world.made.models[7:], *(each[7:] for each in world.made.variants.values())}
    world.resay(
        world.made.image,
        "provenance",
        lambda found: found.update(
            subject=[each for each in found["subject"] if each["digest"]["sha256"] not in gone]
        ),
    )


@said("a run that leaves `model.onnx` out", "subject")
def subjects_no_weight(world: World) -> None:
    world.resay(
        world.made.image,
        "run",
        lambda found: found.update(
            subject=[
                each
                for each in found["subject"]
                if each["digest"]["sha256"] != world.made.weight[7:]
            ]
        ),
    )


@said("a statement of 1 024 subjects among which this one is", "subject")
def subjects_crowd(world: World) -> None:
    def crowd(found: Any) -> None:
        found["subject"] += [
            {"name": "", "digest": {"sha256": f"{at:064x}"}}
            for at in range(1024 - len(found["subject"]))
        ]

    world.resay(world.made.image, "provenance", crowd)


# What hangs where -------------------------------------------------------------------------------

hung = Group("Referrers removed, doubled and moved")

for _kind in ("provenance", "run"):
    hung.add(
        f"no-{_kind}",
        f"the {_kind} taken away from the image",
        GONE,
        lambda world, kind=_kind: world.drop(world.made.image, kind),  # type: ignore[misc]
    )
for _kind in ("cyclonedx", "spdx", "provenance", "run"):
    hung.add(
        f"no-platform-{_kind}",
        f"the {_kind} taken away from one platform",
        GONE,
        lambda world, kind=_kind: world.drop(world.made.platforms[ARM], kind),  # type: ignore[misc]
    )
    hung.add(
        f"no-model-{_kind}",
        f"the {_kind} taken away from one model",
        GONE,
        lambda world, kind=_kind: world.drop(world.made.variants["pi5"], kind),  # type: ignore[misc]
    )


@hung("all evidence taken away from the index of models", GONE)
def no_models_evidence(world: World) -> None:
    world.drop(world.made.models)


@hung("all evidence taken away from everything", GONE)
def no_evidence(world: World) -> None:
    for digest in (*world.made.everything(),):
        if digest != world.made.weight:
            world.drop(digest)


def _copy(world: World, source: str, kind: str, target: str, announced: str = "") -> None:
    """Hang a bundle of one part on another."""
    bundle = world.read(world.bundle(source, kind))
    world.hang(target, bundle, announced or kinds.BY_NAME[kind].predicate_type)


MOVES: dict[str, tuple[str, str, Callable[[World], None]]] = {
    "moved-platform": (
        "one platform's CycloneDX hung on the other",
        "subject",
        lambda world: _copy(
            world, world.made.platforms["linux/amd64"], "cyclonedx", world.made.platforms[ARM]
        ),
    ),
    "moved-variant": (
        "one model's SPDX hung on the other",
        "subject",
        lambda world: _copy(
            world, world.made.variants["amd64"], "spdx", world.made.variants["pi5"]
        ),
    ),
    "moved-to-index": (
        "a platform's CycloneDX hung on the index",
        "subject",
        lambda world: _copy(world, world.made.platforms[ARM], "cyclonedx", world.made.image),
    ),
    "moved-other-provenance": (
        "another recipe's valid provenance hung on the image",
        "subject",
        lambda world: _copy(world, world.other.image, "provenance", world.made.image),
    ),
    "moved-other-run": (
        "another recipe's valid run hung on a model",
        "subject",
        lambda world: _copy(world, world.other.image, "run", world.made.variants["pi5"]),
    ),
    "moved-other-bom": (
        "another recipe's valid SBOM of the same platform hung on this one",
        "subject",
        lambda world: _copy(world, world.other.platforms[ARM], "spdx", world.made.platforms[ARM]),
    ),
    "announced-otherwise": (
        "an SPDX that is announced as CycloneDX, beside the good ones",
        "predicate-type",
        lambda world: _copy(
            world,
            world.made.platforms[ARM],
            "spdx",
            world.made.platforms[ARM],
            kinds.CYCLONEDX.predicate_type,
        ),
    ),
    "announced-unknown": (
        "a provenance that is announced as a kind nobody knows",
        "predicate-type",
        lambda world: _copy(
            world, world.made.image, "provenance", world.made.image, "https://example.org/x"
        ),
    ),
}

for _name, (_what, _reason, _attack) in MOVES.items():
    hung.add(_name, _what, _reason, _attack)


@hung("another recipe's bundles in the place of all of this one's", "evidence-missing subject")
def replaced_by_other(world: World) -> None:
    bundles_ = {
        kind: world.read(world.bundle(world.other.image, kind)) for kind in ("provenance", "run")
    }
    world.drop(world.made.image)
    for kind, data in bundles_.items():
        world.hang(world.made.image, data, kinds.BY_NAME[kind].predicate_type)


@hung("the SBOMs of the two platforms swapped", "evidence-missing subject")
def swapped_boms(world: World) -> None:
    one, two = world.made.platforms.values()
    found = {digest: world.read(world.bundle(digest, "cyclonedx")) for digest in (one, two)}
    world.drop(one, "cyclonedx")
    world.drop(two, "cyclonedx")
    world.hang(one, found[two], kinds.CYCLONEDX.predicate_type)
    world.hang(two, found[one], kinds.CYCLONEDX.predicate_type)


def _hang(what: dict[str, Any]) -> Callable[[World], None]:
    """The good provenance once more, in a manifest of which something is wrong."""

    def attack(world: World) -> None:
        bundle = world.read(world.bundle(world.made.image, "provenance"))
        found = {
            key: value(world, bundle) if callable(value) else value for key, value in what.items()
        }
        world.hang(world.made.image, bundle, kinds.PROVENANCE.predicate_type, manifest=found)

    return attack


def _layer(world: World, data: bytes, media_type: str = bundles.MEDIA_TYPE) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": world.put(data), "size": len(data)}


def _subject(**values: Any) -> Callable[[World, bytes], dict[str, Any]]:
    def make(world: World, _: bytes) -> dict[str, Any]:
        data = world.read(world.made.image)
        return {"mediaType": media.INDEX, "digest": world.made.image, "size": len(data), **values}

    return make


WRAPPED: dict[str, tuple[str, str, dict[str, Any]]] = {
    "no-layers": ("a referrer without a bundle", "manifest", {"layers": []}),
    "two-layers": (
        "a referrer with two bundles",
        "manifest",
        {"layers": lambda world, data: [_layer(world, data), _layer(world, data + b" ")]},
    ),
    "layer-type": (
        "a referrer whose bundle is called something else",
        "manifest",
        {"layers": lambda world, data: [_layer(world, data, "application/json")]},
    ),
    "layer-size": (
        "a referrer that names its bundle with another length",
        "blob-digest",
        {"layers": lambda world, data: [{**_layer(world, data), "size": 7}]},
    ),
    "layer-url": (
        "a referrer whose bundle is to be had from a URL",
        "name",
        {"layers": lambda world, data: [{**_layer(world, data), "urls": ["https://example.org"]}]},
    ),
    "layer-title": (
        "a referrer whose bundle is called `../bundle`",
        "name",
        {
            "layers": lambda world, data: [
                {**_layer(world, data), "annotations": {media.TITLE: "../bundle"}}
            ]
        },
    ),
    "layer-gone": (
        "a referrer whose bundle is nowhere",
        "blob-missing",
        {"layers": [{"mediaType": bundles.MEDIA_TYPE, "digest": "sha256:" + "0" * 64, "size": 9}]},
    ),
    "subject-size": (
        "a referrer that gives its subject another length",
        "manifest",
        {"subject": _subject(size=7)},
    ),
    "subject-type": (
        "a referrer that gives its subject another media type",
        "manifest",
        {"subject": _subject(mediaType=media.MANIFEST)},
    ),
    "schema": ("a referrer of schema version 1", "manifest", {"schemaVersion": 1}),
    "extra": ("a referrer with a key that no manifest has", "manifest", {"signatures": []}),
    "config-gone": (
        "a referrer whose configuration is nowhere",
        "blob-missing",
        {"config": {"mediaType": media.EMPTY, "digest": "sha256:" + "0" * 64, "size": 2}},
    ),
    "content": (
        "a referrer that announces a signature over a message",
        "bundle",
        {
            "annotations": {
                referrers.CONTENT: "message-signature",
                referrers.PREDICATE_TYPE: kinds.PROVENANCE.predicate_type,
            }
        },
    ),
}

for _name, (_what, _reason, _manifest) in WRAPPED.items():
    hung.add(f"referrer-{_name}", f"{_what}, beside the good one", _reason, _hang(_manifest))


@hung("a bundle's referrer that is an index", "manifest")
def referrer_index(world: World) -> None:
    data = canonical.dump(
        {
            "schemaVersion": 2,
            "mediaType": media.INDEX,
            "artifactType": bundles.MEDIA_TYPE,
            "manifests": [],
            "subject": _subject()(world, b""),
        }
    )
    entry = {"mediaType": media.INDEX, "digest": world.put(data), "size": len(data)}
    world.entries(lambda entries: [*entries, entry])


@hung("the artifact type of a referrer changed, so that nobody sees it", GONE)
def hidden_referrer(world: World) -> None:
    (entry,) = world.bundles(world.made.image, "provenance")
    world.remake(entry["digest"], lambda document: document.update(artifactType="text/plain"))


@hung("the subject of a referrer taken away", GONE)
def homeless_referrer(world: World) -> None:
    (entry,) = world.bundles(world.made.image, "run")
    world.remake(entry["digest"], lambda document: document.pop("subject") and None)


@hung("a second, other provenance by the same signer", "evidence-ambiguous")
def two_provenances(world: World) -> None:
    found = world.statement("provenance")
    definition = found.predicate["buildDefinition"]
    definition["internalParameters"]["epoch"] = 1
    world.say(found)


@hung("a second, other provenance on one platform alone", "evidence-ambiguous")
def two_provenances_below(world: World) -> None:
    found = world.statement("provenance")
    found.predicate["buildDefinition"]["internalParameters"]["epoch"] = 1
    world.say(found, on=world.made.platforms[ARM])


@hung("one platform's provenance replaced by another, rightly signed", "evidence-ambiguous")
def mixed_provenances(world: World) -> None:
    found = world.statement("provenance")
    found.predicate["buildDefinition"]["internalParameters"]["epoch"] = 1
    world.drop(world.made.platforms[ARM], "provenance")
    world.say(found, on=world.made.platforms[ARM])


@hung("a second, other SBOM by the same signer", "evidence-ambiguous")
def two_boms(world: World) -> None:
    found = world.statement(f"spdx {ARM}")
    found.predicate["comment"] = "another"  # type: ignore[index]
    world.say(found)


@hung("the same SBOM with its subject called otherwise", "evidence-ambiguous")
def two_names(world: World) -> None:
    found = world.statement(f"spdx {ARM}")
    world.say(replace(found, subjects=(Subject(name="evil", digest=found.subjects[0].digest),)))


@hung("an SBOM about the image index, which has none", "subject")
def bom_of_index(world: World) -> None:
    found = world.statement(f"spdx {ARM}")
    world.say(replace(found, subjects=(Subject(name="x", digest=world.made.image),)))


@hung("300 copies of a bundle hung on the image", "too-large")
def crowd(world: World) -> None:
    bundle = world.read(world.bundle(world.made.image, "run"))
    for at in range(300):
        world.hang(
            world.made.image,
            bundle,
            kinds.RUN.predicate_type,
            manifest={"annotations": {"number": str(at)}},
        )


@hung("a good bundle and a copy with one bit of its signature changed", "signature")
def good_and_bad(world: World) -> None:
    document = world.json(world.bundle(world.made.image, "provenance"))
    found = bytearray(base64.b64decode(document["dsseEnvelope"]["signatures"][0]["sig"]))
    found[-1] ^= 1
    document["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(found).decode()
    world.hang(world.made.image, canonical.dump(document), kinds.PROVENANCE.predicate_type)
