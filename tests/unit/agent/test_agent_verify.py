"""The four checks: each lie is found, and named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from agent import order as orders
from agent.errors import AgentError, Kind
from agent.openssl import PublicKey
from agent.verify import Plan, architecture, plan
from agent_parts import ARCHITECTURE, Artifacts, Signer, ed25519_key, other_p256, p256, provenance
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from buildkit import digests

if TYPE_CHECKING:
    from collections.abc import Callable

MACHINE = {"arm64": "aarch64", "amd64": "x86_64"}.get(ARCHITECTURE, ARCHITECTURE)
OTHER = "amd64" if ARCHITECTURE == "arm64" else "arm64"
DIGEST = "sha256:" + "0" * 64


def check(artifacts: Artifacts, *trusted: Signer) -> Plan:
    keys = {key.id: key for key in (PublicKey.parse(each.pem.encode()) for each in trusted)}
    signers = {PublicKey.parse(each.pem.encode()): each for each in trusted}

    def read(digest: str, most: int, size: int | None) -> bytes:
        data = artifacts.blobs.get(digest)
        if data is None or digests.of_bytes(data) != digest or size not in {None, len(data)}:
            raise AgentError(Kind.REFUSED, f"{digest} is not what it says")
        assert len(data) <= most
        return data

    def verify(key: PublicKey, signature: bytes, signed: bytes) -> bool:
        public = signers[key].key.public_key()
        try:
            if isinstance(public, ec.EllipticCurvePublicKey):
                public.verify(signature, signed, ec.ECDSA(hashes.SHA256()))
            else:
                public.verify(signature, signed)
        except InvalidSignature:
            return False
        return True

    return plan(
        orders.parse(artifacts.order),
        MACHINE,
        keys,
        read=read,
        check=lambda digest, size: void(read(digest, 1 << 30, size)),
        verify=verify,
    )


def void(_: object) -> None:
    return None


@pytest.mark.parametrize("signer", [p256(), ed25519_key()])
def test_what_holds_is_planned(signer: Signer) -> None:
    artifacts = Artifacts(signer)
    found = check(artifacts, signer, other_p256())
    assert found.config.digest == artifacts.config
    assert [layer.digest for layer in found.layers] == [artifacts.layer]
    assert found.model == artifacts.onnx
    assert found.signers == (PublicKey.parse(signer.pem.encode()).id,)
    assert found.settings["User"] == "65532"


@pytest.mark.parametrize(
    ("lie", "reason"),
    [
        ({"architecture": OTHER}, f"index says linux/{OTHER}"),
        ({"config_architecture": OTHER}, f"configuration says linux/{OTHER}"),
        ({"listed_image": DIGEST}, "image's index does not list"),
        ({"listed_model": DIGEST}, "model's index does not list"),
        ({"model_digest": DIGEST}, "image names the model sha256:0000"),
        ({"file_digest": DIGEST}, "model.json names the file sha256:0000"),
        ({"golden_digest": DIGEST}, "model.json names the golden data sha256:0000"),
    ],
)
def test_a_lie_is_named(lie: dict[str, Any], reason: str) -> None:
    with pytest.raises(AgentError, match=f"refused: .*{reason}"):
        check(Artifacts(**lie), p256())


def reached(artifacts: Artifacts) -> list[str]:
    """All blobs but the model's configuration, which nobody on the device reads."""
    return [digest for digest, data in artifacts.blobs.items() if data != b"{}"]


@pytest.mark.parametrize("place", range(len(reached(Artifacts()))))
@pytest.mark.parametrize("harm", ["missing", "longer", "bit"])
def test_harm_to_any_blob_is_found(place: int, harm: str) -> None:
    artifacts = Artifacts()
    digest = reached(artifacts)[place]
    data = artifacts.blobs.pop(digest)
    if harm != "missing":
        artifacts.blobs[digest] = (
            data + b" " if harm == "longer" else bytes([data[0] ^ 1]) + data[1:]
        )
    with pytest.raises(AgentError, match=f"refused: {digest}"):
        check(artifacts, p256())


def with_bundles(*made: Callable[[Artifacts], bytes]) -> Artifacts:
    artifacts = Artifacts()
    artifacts.order["bundles"] = [artifacts.put(each(artifacts)) for each in made]
    return artifacts


def good(artifacts: Artifacts) -> bytes:
    return p256().bundle(provenance(*artifacts.subjects))


def strange(artifacts: Artifacts) -> bytes:
    return other_p256().bundle(provenance(*artifacts.subjects))


def forged(artifacts: Artifacts) -> bytes:
    """Another's signature under the hint of a trusted key."""
    key = Signer(other_p256().key)
    return key.bundle(provenance(*artifacts.subjects)).replace(
        key.hint.encode(), p256().hint.encode()
    )


def about_less(artifacts: Artifacts) -> bytes:
    return p256().bundle(provenance(*artifacts.subjects[:3]))


def of_another_kind(artifacts: Artifacts) -> bytes:
    return p256().bundle(provenance(*artifacts.subjects, kind="https://example.org/other"))


@pytest.mark.parametrize("made", [(), (strange,), (about_less,), (of_another_kind,)])
def test_without_provenance_by_a_trusted_key_nothing_runs(
    made: tuple[Callable[[Artifacts], bytes], ...],
) -> None:
    with pytest.raises(AgentError, match="refused: no bundle is provenance"):
        check(with_bundles(*made), p256())


@pytest.mark.parametrize("made", [(strange, good), (of_another_kind, good), (good, about_less)])
def test_bundles_that_do_not_count_do_no_harm(
    made: tuple[Callable[[Artifacts], bytes], ...],
) -> None:
    assert check(with_bundles(*made), p256()).signers


@pytest.mark.parametrize("made", [(good, forged), (forged, good), (good, lambda _: b"{}")])
def test_one_bad_bundle_is_a_refusal(made: tuple[Callable[[Artifacts], bytes], ...]) -> None:
    with pytest.raises(AgentError, match="refused: bundle sha256"):
        check(with_bundles(*made), p256())


def test_machines_have_their_oci_names() -> None:
    assert architecture("aarch64") == "arm64"
    assert architecture("x86_64") == "amd64"
    assert architecture("loongarch64") == "loongarch64"
