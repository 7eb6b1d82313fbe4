"""The ring as data: what it says, and what it refuses to read."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildkit.errors import EvidenceError, InputError, SignerError
from buildkit.evidence.keys import ALGORITHMS, KeyRing, change, location, private, public_key
from buildkit.evidence.keys.ring import _parse
from buildkit.evidence.reasons import Reason

FILE = Path("ring.json")


def ring_of(tmp_path: Path) -> Path:
    folder = tmp_path / "keys"
    change.make(folder, epoch=1)
    change.make(folder, epoch=2, name="release", algorithm="ed25519")
    return folder


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_id_and_hint_are_the_hash_of_the_key(algorithm: str) -> None:
    from cryptography.hazmat.primitives import serialization as form

    key = private.generate(algorithm, "x", created=5).public
    der = form.load_pem_public_key(key.pem).public_bytes(
        form.Encoding.DER, form.PublicFormat.SubjectPublicKeyInfo
    )
    digest = hashlib.sha256(der).digest()
    assert key.hint == base64.b64encode(digest).decode()
    assert key.id == digest.hex()[:16]
    assert (key.algorithm, key.state, key.created) == (algorithm, "active", 5)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@given(data=st.binary(max_size=200))
@settings(max_examples=20)
def test_a_signature_holds_for_its_bytes_and_key_alone(algorithm: str, data: bytes) -> None:
    key = private.generate(algorithm, "x", created=0)
    signature = key.sign(data)
    assert signature == key.sign(data)
    key.public.verify(signature, data)
    other = private.generate(algorithm, "x", created=0).public
    changed = bytes([signature[0] ^ 1]) + signature[1:]
    for who, what, over in (
        (key.public, signature, data + b"."),
        (key.public, changed, data),
        (key.public, b"", data),
        (other, signature, data),
    ):
        with pytest.raises(EvidenceError) as refused:
            who.verify(what, over)
        assert refused.value.reason == Reason.SIGNATURE


def test_where_the_keys_are(tmp_path: Path) -> None:
    assert location({"EDGE_BUILDKIT_KEYS": "/a", "HOME": "/h"}) == Path("/a")
    assert location({"XDG_CONFIG_HOME": "/x", "HOME": "/h"}) == Path("/x/edge-buildkit/keys")
    assert location({"XDG_CONFIG_HOME": "x", "HOME": "/h"}) == Path("/h/.config/edge-buildkit/keys")
    assert location({"HOME": str(tmp_path)}) == tmp_path / ".config/edge-buildkit/keys"


def test_a_ring_that_is_not_there_is_empty_and_stays_away(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    assert KeyRing.load(folder).keys == ()
    assert not folder.exists()


def test_it_reads_back_what_it_wrote(tmp_path: Path) -> None:
    folder = ring_of(tmp_path)
    ring = KeyRing.load(folder)
    assert ring.dump() == (folder / "ring.json").read_bytes()
    assert [key.name for key in ring.keys] == ["default", "release"]
    assert ring.with_hint(ring.keys[1].hint) == ring.keys[1]
    assert ring.with_hint("") is None
    assert ring.active() == ring.keys[0]
    assert ring.active("nobody") is None


def test_what_a_user_means(tmp_path: Path) -> None:
    ring = KeyRing.load(ring_of(tmp_path))
    default = ring.keys[0]
    for which in ("default", default.id, default.id[:6]):
        assert ring.find(which) == default
    for which in ("nobody", default.id[:3], ""):
        with pytest.raises(InputError, match="no key of that name"):
            ring.find(which)
    with pytest.raises(InputError) as refused:
        KeyRing(folder=ring.folder, keys=()).find("x")
    assert "keys make" in refused.value.remedy


@pytest.mark.parametrize("name", ["ring.json", "."])
def test_a_ring_that_others_may_write_to_is_not_trusted(tmp_path: Path, name: str) -> None:
    folder = ring_of(tmp_path)
    path = folder / name
    path.chmod(path.stat().st_mode | 0o020)
    with pytest.raises(SignerError, match="others may write") as refused:
        KeyRing.load(folder)
    assert "chmod go-w" in refused.value.remedy


def document(tmp_path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ring_of(tmp_path) / "ring.json").read_bytes())
    return found


@pytest.mark.parametrize(
    ("change_it", "why"),
    [
        (lambda it: it.update(schema="edge-buildkit/keys/v2"), "newer version"),
        (lambda it: it.update(schema="other"), "schema is not ours"),
        (lambda it: it.update(extra=1), "schema is not ours"),
        (lambda it: it.update(keys={}), "not a list"),
        (lambda it: it["keys"].append(1), "is not a key"),
        (lambda it: it["keys"].append(it["keys"][0]), "twice"),
        (lambda it: it["keys"][1].update(name="default"), "twice"),
        (lambda it: it["keys"][0].update(state="trusted"), "unknown"),
        (lambda it: it["keys"][0].update(algorithm="rsa"), "unknown"),
        (lambda it: it["keys"][0].update(created=True), "seconds"),
        (lambda it: it["keys"][0].update(retired=-1), "seconds"),
        (lambda it: it["keys"][0].update(pem=1), "a text"),
        (lambda it: it["keys"][0].update(id="0" * 16), "not those of its PEM"),
        (lambda it: it["keys"][0].update(pem=it["keys"][1]["pem"]), "not those of its PEM"),
        (lambda it: it["keys"][0].update(name="../x"), "the name"),
        (lambda it: it["keys"][0].pop("hint"), "is not a key"),
    ],
)
def test_a_ring_that_does_not_hold_together(tmp_path: Path, change_it: Any, why: str) -> None:
    found = document(tmp_path)
    change_it(found)
    with pytest.raises(SignerError, match=why) as refused:
        _parse(json.dumps(found).encode(), FILE)
    assert refused.value.remedy


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["schema", "keys", "id", "pem", "state"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(data=st.binary(max_size=300) | _JSON.map(lambda value: json.dumps(value).encode()))
def test_whatever_stands_in_the_file(data: bytes) -> None:
    with pytest.raises(SignerError):
        _parse(data, FILE)


def pem_of_kind(kind: str) -> bytes:
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    secret = (
        rsa.generate_private_key(65537, 2048)
        if kind == "rsa"
        else ec.generate_private_key(ec.SECP384R1())
    )
    if kind == "private":
        return secret.private_bytes(
            form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()
        )
    return secret.public_key().public_bytes(
        form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo
    )


@pytest.mark.parametrize(
    ("kind", "why"),
    [("rsa", "neither ECDSA"), ("p384", "neither ECDSA"), ("private", "a private key")],
)
def test_keys_of_other_kinds_are_refused(kind: str, why: str) -> None:
    with pytest.raises(InputError, match=why):
        public_key(pem_of_kind(kind), "team.pub")


def test_a_public_key_stands_alone() -> None:
    pem = private.generate("ed25519", "x", created=0).public.pem
    assert public_key(b"\n" + pem + b"\n\n", "x").pem == pem
    assert public_key(pem.replace(b"\n", b"\r\n"), "x").pem == pem
    for bad in (pem + pem, b"x" + pem, pem[:-20], b"", pem.replace(b"M", b"!", 1), b"\0" * 99999):
        with pytest.raises(InputError):
            public_key(bad, "x")


@given(data=st.binary(max_size=200))
def test_whatever_stands_between_the_lines_of_a_public_key(data: bytes) -> None:
    body = base64.b64encode(data)
    pem = b"-----BEGIN PUBLIC KEY-----\n" + body + b"\n-----END PUBLIC KEY-----\n"
    with pytest.raises(InputError):
        public_key(pem, "x")
