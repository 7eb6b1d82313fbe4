"""Others' tools and ours, on the same evidence: cosign and oras out of Nix, a real registry.

What runs here stands in docs/signing.md.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from real_project import Project
from registry_parts import serving

from buildkit import media
from buildkit.errors import EvidenceError
from buildkit.evidence import bundle, referrers, signers, signing
from buildkit.evidence.classic import classic, tag
from buildkit.evidence.keys import ALGORITHMS, KeyRing, PublicKey, change, public_key
from buildkit.evidence.reasons import Reason
from buildkit.evidence.statement import OLDER_TYPE, Statement, Subject
from buildkit.evidence.statement import parse as parse_statement
from buildkit.run import run
from buildkit.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from registry_parts import Done, Tools

    from buildkit.evidence.signer import Signer
    from buildkit.records import Descriptor

pytestmark = pytest.mark.nix

PROVENANCE = "https://slsa.dev/provenance/v1"
CYCLONEDX = "https://cyclonedx.org/bom"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("registry")) as address:
        yield address


def signer_of(folder: Path, spec: str = "key") -> Signer:
    settings = signers.Settings(keys=folder, epoch=1, runner=run, passphrase=lambda _: None)
    made = signers.signer(spec, settings)
    assert made is not None
    return made


def said_about(*digests: str, kind: str = PROVENANCE) -> bytes:
    subjects = tuple(Subject(name="it", digest=each) for each in digests)
    return Statement(subjects=subjects, predicate_type=kind, predicate={"a": 1}).payload()


def is_accepted(done: Done) -> bool:
    """Whether cosign accepts; that it refuses must not mean that it could not look."""
    said = (done.stdout + done.stderr).decode()
    for sign in ("tuf refresh", "no such host", "unknown flag", "connection refused", "panic"):
        assert sign not in said
    assert done.returncode in (0, 1), said
    return done.returncode == 0


@dataclass(frozen=True)
class Scene:
    """A store with an image of two platforms and signed evidence on each of its manifests."""

    store: Store
    index: Descriptor
    platform: Descriptor
    key: PublicKey
    pub: Path

    @property
    def oci(self) -> str:
        return f"{self.store.root}@{self.index.digest}"


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return make_scene(tmp_path)


def make_scene(tmp_path: Path) -> Scene:
    store = Store.create(tmp_path / "store")
    layer = store.put_bytes(b"a layer", media.LAYER)
    platforms = []
    for platform in ("linux/amd64", "linux/arm64"):
        config = store.put_json(
            {
                "os": "linux",
                "architecture": platform.split("/")[1],
                "rootfs": {"type": "layers", "diff_ids": [layer.digest]},
            },
            media.CONFIG,
        )
        manifest = {
            "schemaVersion": 2,
            "mediaType": media.MANIFEST,
            "config": config.to_json(),
            "layers": [layer.to_json()],
        }
        platforms.append(store.put_json(manifest, media.MANIFEST, platform=platform))
    document = {
        "schemaVersion": 2,
        "mediaType": media.INDEX,
        "manifests": [each.to_json() for each in platforms],
    }
    index = store.tag(store.put_json(document, media.INDEX), "demo:1")
    signer = signer_of(tmp_path / "keys")
    parts = {each.digest: each for each in (index, *platforms)}
    signing.sign(store, signer, [said_about(*parts)], parts)
    for each in platforms:
        signing.sign(store, signer, [said_about(each.digest, kind=CYCLONEDX)], parts)
    (key,) = KeyRing.load(tmp_path / "keys").keys
    pub = tmp_path / "our.pub"
    pub.write_bytes(key.pem)
    return Scene(store=store, index=index, platform=platforms[1], key=key, pub=pub)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_cosign_accepts_our_bundle_of_a_file(tools: Tools, tmp_path: Path, algorithm: str) -> None:
    key = change.make(tmp_path / "keys", epoch=1, algorithm=algorithm)
    (pub := tmp_path / "our.pub").write_bytes(key.pem)
    (blob := tmp_path / "model.onnx").write_bytes(b"weights")
    (bundled := tmp_path / "bundle.json").write_bytes(
        signer_of(tmp_path / "keys").bundle(
            said_about(f"sha256:{'1' * 64}", f"sha256:{hashlib.sha256(b'weights').hexdigest()}")
        )
    )
    assert is_accepted(tools.checks_blob(pub, bundled, PROVENANCE, blob))

    blob.write_bytes(b"other weights")
    assert not is_accepted(tools.checks_blob(pub, bundled, PROVENANCE, blob))
    blob.write_bytes(b"weights")

    good = json.loads(bundled.read_bytes())
    for name in ("payload", "sig"):
        bad = json.loads(bundled.read_bytes())
        place = bad["dsseEnvelope"] if name == "payload" else bad["dsseEnvelope"]["signatures"][0]
        data = bytearray(base64.b64decode(place[name]))
        data[len(data) // 2] ^= 1
        place[name] = base64.b64encode(data).decode()
        bundled.write_text(json.dumps(bad))
        assert not is_accepted(tools.checks_blob(pub, bundled, PROVENANCE, blob)), name
    bundled.write_text(json.dumps(good))
    other = change.make(tmp_path / "others", epoch=1, algorithm=algorithm)
    pub.write_bytes(other.pem)
    assert not is_accepted(tools.checks_blob(pub, bundled, PROVENANCE, blob))


def test_cosign_accepts_what_hangs_on_an_image_in_a_registry(
    tools: Tools, registry: str, scene: Scene
) -> None:
    tools.push(scene.oci, f"{registry}/demo:1")
    for part, kinds in (
        (scene.index, [PROVENANCE]),
        (scene.platform, [PROVENANCE, CYCLONEDX]),
    ):
        ref = f"{registry}/demo@{part.digest}"
        listed = json.loads(
            tools("oras", "discover", "--plain-http", "--format", "json", ref).stdout
        )
        found = {each["annotations"][referrers.PREDICATE_TYPE] for each in listed["manifests"]}
        assert found == set(kinds)
        assert {each["artifactType"] for each in listed["manifests"]} == {bundle.MEDIA_TYPE}
        for kind in kinds:
            assert is_accepted(tools.checks(ref, scene.pub, kind))
    # Unlike for a file, cosign looks at the kind here, also by its short name.
    ref = f"{registry}/demo@{scene.index.digest}"
    assert is_accepted(tools.checks(ref, scene.pub, "slsaprovenance1"))
    assert not is_accepted(tools.checks(ref, scene.pub, CYCLONEDX))


def test_cosign_accepts_all_that_a_build_says(
    tools: Tools, registry: str, digits: Project, tmp_path: Path
) -> None:
    """Image and model of a real build, out of its store into a registry."""
    pub = tmp_path / "our.pub"
    pub.write_text(digits.cli("keys", "export").stdout)
    store = digits.store
    checked = 0
    for name in ("digits", "digits-model"):
        top = store.resolve(f"{name}:1.0.0")
        tools.push(f"{store.root}@{top.digest}", f"{registry}/{name}:1.0.0")
        parts = [top.digest, *(each["digest"] for each in store.read_json(top.digest)["manifests"])]
        for digest in parts:
            ref = f"{registry}/{name}@{digest}"
            words = ("discover", "--plain-http", "--format", "json", ref)
            listed = json.loads(tools("oras", *words).stdout)["manifests"]
            hanging = [each for each in listed if each["artifactType"] == bundle.MEDIA_TYPE]
            kinds = {each["annotations"][referrers.PREDICATE_TYPE] for each in hanging}
            assert len(kinds) == (2 if digest == top.digest else 4)
            for kind in kinds:
                assert is_accepted(tools.checks(ref, pub, kind)), (name, digest, kind)
                checked += 1
    # Two indexes, two platforms, two models.
    assert checked == 2 * 2 + 4 * 4


def test_cosign_refuses_another_key(
    tools: Tools, registry: str, scene: Scene, tmp_path: Path
) -> None:
    tools.push(scene.oci, f"{registry}/wrong-key:1")
    pub = tmp_path / "other.pub"
    pub.write_bytes(change.make(tmp_path / "others", epoch=1).pem)
    ref = f"{registry}/wrong-key@{scene.index.digest}"
    assert not is_accepted(tools.checks(ref, pub, PROVENANCE))
    assert is_accepted(tools.checks(ref, scene.pub, PROVENANCE))


def test_cosign_refuses_what_is_about_something_else(
    tools: Tools, registry: str, scene: Scene, tmp_path: Path
) -> None:
    alone = scene.store.put_json(
        {
            "schemaVersion": 2,
            "mediaType": media.INDEX,
            "manifests": [scene.platform.to_json()],
        },
        media.INDEX,
    )
    scene.store.tag(alone, "demo:2")
    swapped = signer_of(tmp_path / "keys").bundle(said_about(scene.index.digest))
    signed = referrers.Signed(subject=alone, predicate_type=PROVENANCE, bundle=swapped)
    referrers.attach(scene.store, [signed])
    tools.push(f"{scene.store.root}@{alone.digest}", f"{registry}/swapped:1")
    ref = f"{registry}/swapped@{alone.digest}"
    assert not is_accepted(tools.checks(ref, scene.pub, PROVENANCE))


def test_a_rotated_key_is_another_to_cosign(
    tools: Tools, registry: str, scene: Scene, tmp_path: Path
) -> None:
    """Both signatures hang there; each is found by its own key."""
    newer = change.rotate(tmp_path / "keys", epoch=2, algorithm="ed25519")
    parts = {scene.index.digest: scene.index}
    signer = signer_of(tmp_path / "keys")
    signing.sign(scene.store, signer, [said_about(scene.index.digest)], parts)
    tools.push(scene.oci, f"{registry}/rotated:1")
    (pub := tmp_path / "newer.pub").write_bytes(newer.pem)
    ref = f"{registry}/rotated@{scene.index.digest}"
    for each in (scene.pub, pub):
        assert is_accepted(tools.checks(ref, each, PROVENANCE))


def test_the_older_form_is_seen_by_cosign_tree(
    tools: Tools, registry: str, scene: Scene, tmp_path: Path
) -> None:
    ref = f"{registry}/classic@{scene.platform.digest}"
    tools.push(scene.oci, f"{registry}/classic:1")
    # cosign 2.5 shows no referrers, so without the older form it sees nothing.
    assert b"No Supply Chain Security Related Artifacts" in tools("cosign", "tree", ref).stdout

    made = classic(scene.store, scene.platform)
    assert classic(scene.store, scene.platform).digest == made.digest
    name = tag(scene.platform.digest)
    assert scene.store.resolve(name).digest == made.digest
    tools.push(f"{scene.store.root}:{name}", f"{registry}/classic:{name}", referrers=False)
    tree = tools("cosign", "tree", ref).stdout.decode()
    for layer in scene.store.read_json(made.digest)["layers"]:
        assert layer["digest"] in tree

    def checked(pub: Path, kind: str) -> bool:
        words = ("verify-attestation", "--key", pub, "--insecure-ignore-tlog", "--type", kind, ref)
        return is_accepted(tools("cosign", *words, status=None))

    assert checked(scene.pub, CYCLONEDX)
    assert checked(scene.pub, PROVENANCE)
    assert not checked(scene.pub, "https://example.org/other")
    (other := tmp_path / "other.pub").write_bytes(change.make(tmp_path / "o", epoch=1).pem)
    assert not checked(other, CYCLONEDX)


def test_nothing_signed_has_no_older_form(scene: Scene) -> None:
    lonely = scene.store.put_json({"schemaVersion": 2, "mediaType": media.INDEX}, media.INDEX)
    with pytest.raises(EvidenceError) as refused:
        classic(scene.store, lonely)
    assert refused.value.reason == Reason.EVIDENCE_MISSING


@pytest.fixture(scope="module")
def cosign_key(tools: Tools) -> PublicKey:
    tools("cosign", "generate-key-pair")
    return public_key((tools.home / "cosign.pub").read_bytes(), "cosign.pub")


def test_we_accept_the_bundle_that_cosign_makes_of_a_file(
    tools: Tools, cosign_key: PublicKey, tmp_path: Path
) -> None:
    (blob := tmp_path / "blob").write_bytes(b"data")
    (predicate := tmp_path / "predicate.json").write_text('{"a": 1}')
    made = tmp_path / "made.json"
    tools(
        "cosign",
        *("attest-blob", "--key", "cosign.key", "--new-bundle-format", "--tlog-upload=false"),
        *("--predicate", predicate, "--type", PROVENANCE, "--bundle", made, blob),
    )
    read = bundle.parse(made.read_bytes(), "it")
    assert read.key_hint == cosign_key.hint
    cosign_key.verify(read.envelope.signature, read.envelope.signed())
    said = parse_statement(read.envelope.payload, "it", older=True)
    assert said.type == OLDER_TYPE
    assert said.predicate_type == PROVENANCE
    assert said.is_about(f"sha256:{hashlib.sha256(b'data').hexdigest()}")
    with pytest.raises(EvidenceError) as refused:
        cosign_key.verify(read.envelope.signature, read.envelope.signed() + b" ")
    assert refused.value.reason == Reason.SIGNATURE
    with pytest.raises(EvidenceError) as refused:
        parse_statement(read.envelope.payload, "it")
    assert refused.value.reason == Reason.STATEMENT


def test_we_find_and_accept_what_cosign_hangs_on_an_image(
    tools: Tools, registry: str, scene: Scene, cosign_key: PublicKey, tmp_path: Path
) -> None:
    ref = f"{registry}/theirs@{scene.index.digest}"
    tools.push(scene.oci, f"{registry}/theirs:1")
    (predicate := tmp_path / "predicate.json").write_text('{"a": 1}')
    tools(
        "cosign",
        *("attest", "--key", "cosign.key", "--new-bundle-format", "--tlog-upload=false"),
        *("--predicate", predicate, "--type", "https://example.org/review/v1", ref),
    )
    back = tmp_path / "back"
    words = ("cp", "-r", "--from-plain-http", "--to-oci-layout")
    tools("oras", *words, ref, f"{back}:back")
    found: list[Any] = []
    for each in referrers.find(Store.open(back), scene.index.digest):
        assert not isinstance(each, EvidenceError)
        read = bundle.parse(each.bundle, "it")
        key = {cosign_key.hint: cosign_key, scene.key.hint: scene.key}[read.key_hint]
        key.verify(read.envelope.signature, read.envelope.signed())
        said = parse_statement(read.envelope.payload, "it", older=key is cosign_key)
        assert said.is_about(scene.index.digest)
        assert said.predicate_type == each.announced
        found.append(said.predicate_type)
    assert sorted(found) == ["https://example.org/review/v1", PROVENANCE]


def test_a_review_by_cosign_counts_for_our_verify(
    tools: Tools, digits: Project, cosign_key: PublicKey, tmp_path: Path
) -> None:
    """Of a real build: an index is a file like any other to cosign."""
    alone = Project(tmp_path / "auditor", "digits")
    shutil.copytree(digits.store.root, alone.root / ".buildkit/store")
    store = alone.store
    index = store.resolve("digits:1.0.0")
    (predicate := tmp_path / "predicate.json").write_text('{"a": 1}')
    kind = "https://example.org/review/v1"
    made = tmp_path / "made.json"
    tools(
        "cosign",
        *("attest-blob", "--key", "cosign.key", "--new-bundle-format", "--tlog-upload=false"),
        *("--predicate", predicate, "--type", kind, "--bundle", made, store.path(index.digest)),
    )
    said = referrers.Signed(subject=index, predicate_type=kind, bundle=made.read_bytes())
    referrers.attach(store, [said])
    (tmp_path / "cosign.pub").write_bytes(cosign_key.pem)
    policy = tmp_path / "policy.toml"
    trust = 'schema = 1\n[trust]\nown_keys = true\nkeys = ["cosign.pub"]\n'
    words = ("verify", "digits:1.0.0", "--json", "--policy", policy)

    def reasons(text: str, status: int) -> set[str]:
        policy.write_text(text)
        report = json.loads(alone.cli(*words, status=status).stdout)
        return {each["reason"] for each in report["findings"]}

    accept = f'[accept]\nstatements = ["v1", "v0.1"]\npredicate_types = ["{kind}"]\n'
    assert reasons(trust + accept, 0) == set()
    # Each of the three is needed.
    assert reasons(trust, 1) == {"statement"}
    assert reasons(trust + '[accept]\nstatements = ["v1", "v0.1"]\n', 1) == {"predicate-type"}
    stranger = trust.replace('keys = ["cosign.pub"]\n', "")
    assert reasons(stranger + accept, 1) == {"signer-unknown"}


_MODULE = "/usr/lib/softhsm/libsofthsm2.so"
_PROGRAM = """#!/bin/sh
# What a key service's own client does in its place: print the key; sign standard input.
set -eu
token() {{ pkcs11-tool --module "{module}" --token-label build --id 01 "$@" 2>/dev/null; }}
case $1 in
public-key) token --read-object --type pubkey | openssl pkey -pubin -inform DER -pubout ;;
sign)
    openssl dgst -sha256 -binary |
        token --login --pin 1234 --sign -m ECDSA --signature-format openssl
    ;;
*) exit 64 ;;
esac
"""


def test_a_key_in_a_token_signs_and_cosign_accepts_it(
    tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tokens").mkdir()
    (settings := tmp_path / "softhsm2.conf").write_text(
        f"directories.tokendir = {tmp_path / 'tokens'}\n"
    )
    monkeypatch.setenv("SOFTHSM2_CONF", str(settings))
    pins = ("--so-pin", "1234", "--pin", "1234")
    run(["softhsm2-util", "--init-token", "--free", "--label", "build", *pins])
    token = ("pkcs11-tool", "--module", _MODULE, "--token-label", "build", "--login", *pins[2:])
    run([*token, "--keypairgen", "--key-type", "EC:prime256v1", "--id", "01"])
    (script := tmp_path / "token-signs").write_text(_PROGRAM.format(module=_MODULE))
    script.chmod(0o755)
    signer = signer_of(tmp_path / "keys", f"exec:{script}")
    assert isinstance(signer, signers.ProgramSigner)
    (blob := tmp_path / "blob").write_bytes(b"data")
    (bundled := tmp_path / "bundle.json").write_bytes(
        signer.bundle(said_about(f"sha256:{hashlib.sha256(b'data').hexdigest()}"))
    )
    (pub := tmp_path / "token.pub").write_bytes(signer.key.pem)
    assert is_accepted(tools.checks_blob(pub, bundled, PROVENANCE, blob))
    assert not (tmp_path / "keys").exists()
