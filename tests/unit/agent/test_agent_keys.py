"""Enrolment, facts, and requests that make no sense."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Any

import pytest
from agent.openssl import OpenSsl, PublicKey
from agent.programs import Programs
from agent.verify import architecture
from agent_parts import ARCHITECTURE, Device, Signer, ed25519_key, other_p256, p256
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from buildkit.evidence.keys.public import fingerprint

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(tmp_path)


def test_a_device_is_enrolled(device: Device) -> None:
    done = device.enroll(p256(), ed25519_key())
    assert set(done["trusted"]) == {fingerprint(each.der)[0] for each in (p256(), ed25519_key())}
    file = device.home / ".config/edge-buildkit/device/key.pem"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    private = serialization.load_pem_private_key(file.read_bytes(), None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    assert isinstance(private.curve, ec.SECP256R1)
    assert b"BEGIN PRIVATE KEY" in file.read_bytes()
    own = Signer(private)
    assert done["key"] == {"id": fingerprint(own.der)[0], "pem": own.pem}
    # Again: the same key, and other trust.
    again = device.enroll(other_p256())
    assert again["key"] == done["key"]
    assert again["trusted"] == [fingerprint(other_p256().der)[0]]
    facts = device.ask("facts", {})["done"]
    assert facts["key"] == done["key"]
    assert facts["trusted"] == again["trusted"]


def pem_of(key: Any) -> str:
    found: str = (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )
    return found


def test_keys_of_other_kinds_are_refused(device: Device) -> None:
    no_point = PublicKey(der=p256().der[:-1] + bytes([p256().der[-1] ^ 1]), ed25519=False).pem
    for pem in (
        pem_of(ec.generate_private_key(ec.SECP384R1())),
        pem_of(rsa.generate_private_key(65537, 2048)),
        p256().pem + p256().pem,
        "x",
        no_point,
    ):
        assert device.ask("enroll", {"trusted": [pem]})["error"]["kind"] == "usage"
    requests: list[dict[str, Any]] = [
        {},
        {"trusted": []},
        {"trusted": [1]},
        {"trusted": "x"},
        {"more": 1},
    ]
    for request in requests:
        assert device.ask("enroll", request)["error"]["kind"] == "usage"
    assert not (device.home / ".config/edge-buildkit/device/key.pem").exists()


@pytest.mark.parametrize("signer", [p256(), ed25519_key()])
def test_a_signature_is_of_its_key_and_its_bytes_alone(signer: Signer) -> None:
    openssl = OpenSsl(Programs())
    key = PublicKey.parse(signer.pem.encode())
    assert key.pem == signer.pem
    assert (key.id, key.hint) == fingerprint(signer.der)
    signature = signer.sign(b"data")
    assert openssl.verify(key, signature, b"data")
    assert not openssl.verify(key, signature, b"Data")
    assert not openssl.verify(key, signature[:-1], b"data")
    assert not openssl.verify(key, b"", b"data")
    other = other_p256() if signer is p256() else p256()
    assert not openssl.verify(PublicKey.parse(other.pem.encode()), signature, b"data")


@given(st.binary(max_size=300))
def test_no_text_breaks_the_reader_of_keys(data: bytes) -> None:
    for text in (data, b"-----BEGIN PUBLIC KEY-----\n" + data + b"-----END PUBLIC KEY-----\n"):
        with pytest.raises(ValueError, match="PEM"):
            PublicKey.parse(text)


def test_facts(device: Device) -> None:
    done = device.ask("facts", {})["done"]
    assert done["board"] == "Raspberry Pi 5 Model B Rev 1.0"
    assert done["standin"] == "test"
    assert done["memory_bytes"] == 8000 * 1024
    assert done["boot_id"] == "boot-1"
    assert architecture(done["machine"]) == ARCHITECTURE
    assert done["openssl"].startswith("OpenSSL")
    assert done["key"] is None
    assert done["leftovers"] == []
    assert [each["name"] for each in done["runtimes"]] == ["docker", "podman", "crun"]
    assert [each["version"] for each in done["runtimes"]] == ["24.0.7", "24.0.7", "1.8.1"]
    assert all(each["usable"] and not each["why"] for each in done["runtimes"])
    # It changes nothing.
    assert not device.data.exists()


def test_a_daemon_that_does_not_answer_is_not_usable(device: Device) -> None:
    device.answers(None, no_daemon=1)
    docker, *_ = device.ask("facts", {})["done"]["runtimes"]
    assert not docker["usable"]
    assert "daemon" in docker["why"]


@pytest.mark.parametrize(
    ("command", "request_line"),
    [
        ("facts", b'{"more": 1}\n'),
        ("facts", b"[]\n"),
        ("facts", b"{\n"),
        ("clean", b'{"blobs": 1}\n'),
        ("missing", b'{"blobs": [{"digest": "md5:0", "size": 1}]}\n'),
        ("run", b"{}\n"),
        ("nonsense", b"{}\n"),
    ],
)
def test_requests_without_sense(device: Device, command: str, request_line: bytes) -> None:
    error = device.ask(command, request_line)["error"]
    assert (error["kind"], error["blame"]) == ("usage", "host")


def test_a_request_that_does_not_come_whole(device: Device) -> None:
    call = device.start("facts", b'{"a": ')
    call.hang_up()
    assert call.last()["error"]["kind"] == "network"
