"""Keyless signing end to end, against a stand-in for Sigstore, and cosign on both sides of it."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sigstore_parts import CI_SECRET, ISSUER, WORKFLOW, Issuer, Log, pem
from sigstore_standin import Standin

from buildkit import canonical
from buildkit.errors import EvidenceError, SignerError
from buildkit.evidence import bundle, keyless, statement, trust
from buildkit.evidence.reasons import Reason
from buildkit.run import Result, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from real_project import Project

    from buildkit.evidence.signer import Signer

ARTIFACT = b"an image index, say\n"
TYPE = "https://example.test/said/v1"


def payload(text: str = "grün") -> bytes:
    """Canonical, not plain ASCII, and with a number that a careless hand would write anew."""
    subject = statement.Subject(
        name="vision", digest="sha256:" + hashlib.sha256(ARTIFACT).hexdigest()
    )
    return statement.Statement(
        subjects=(subject,), predicate_type=TYPE, predicate={"said": text, "share": 1e-7}
    ).payload()


@dataclass(frozen=True)
class Served:
    """A stand-in that answers, and the file that says where."""

    standin: Standin
    url: str
    config: Path

    def signer(self, **how: Any) -> Signer:
        how = {"identity_token": self.standin.issuer.token(), **how}
        return keyless.signer(trust_config=self.config, **how)

    def refused(self, **how: Any) -> SignerError:
        with pytest.raises(SignerError) as caught:
            self.signer(**how).bundle(payload())
        assert caught.value.remedy
        assert "\n" not in caught.value.message
        return caught.value

    @property
    def root(self) -> trust.TrustRoot:
        return trust.parse(canonical.dump(self.standin.trusted_root()), "the root")


def served_by(standin: Standin, folder: Path) -> Iterator[Served]:
    with standin.serve() as url:
        config = folder / "trust_config.json"
        config.write_text(json.dumps(standin.trust_config(url)))
        yield Served(standin, url, config)


@pytest.fixture(autouse=True)
def _nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """No identity from the machine that the tests run on."""
    for name in list(os.environ):
        if name.startswith(
            ("GITHUB_", "ACTIONS_", "SIGSTORE_", "CI_", "GITLAB_", "CIRCLE", "BUILDKITE")
        ):
            monkeypatch.delenv(name)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    yield from served_by(Standin(), tmp_path)


def verify(raw: bytes, root: trust.TrustRoot) -> trust.Identity:
    return trust.verify(bundle.parse(raw, "the bundle"), root, "the bundle")


# ---- signing


def test_a_build_is_signed_with_one_certificate_and_verified_offline(tmp_path: Path) -> None:
    standin = Standin()
    for served in served_by(standin, tmp_path):
        signer = served.signer()
        assert signer.name == f"{WORKFLOW} (issuer {ISSUER})"
        made = {text: signer.bundle(payload(text)) for text in ("eins", "zwei", "drei")}
        file = tmp_path / "trusted_root.json"
        file.write_text(json.dumps(standin.trusted_root()))
    assert standin.certificates == 1
    assert len(standin.log.leaves) == 3
    # The server is gone, and this is another process's view of it.
    root = trust.load(file)
    for text, raw in made.items():
        assert raw == canonical.dump(canonical.load(raw))
        found = bundle.parse(raw, "the bundle")
        assert found.envelope.payload == payload(text)
        identity = trust.verify(found, root, "the bundle")
        assert (identity.subject, identity.issuer) == (WORKFLOW, ISSUER)
        assert abs(identity.signed_at - datetime.now(UTC)) < timedelta(minutes=5)
        entry = canonical.load(raw)["verificationMaterial"]["tlogEntries"][0]
        assert entry["kindVersion"] == {"kind": "dsse", "version": "0.0.1"}


def test_nothing_is_asked_before_it_is_needed(tmp_path: Path) -> None:
    keyless.signer(trust_config=tmp_path / "absent.json", identity_token=str(tmp_path / "none"))


def test_a_certificate_that_runs_out_is_renewed(served: Served) -> None:
    now = [datetime.now(UTC)]
    signer = served.signer(clock=lambda: now[0])
    first = signer.bundle(payload())
    now[0] += timedelta(minutes=8)
    signer.bundle(payload())
    assert served.standin.certificates == 1
    now[0] += timedelta(minutes=1, seconds=30)
    last = signer.bundle(payload())
    assert served.standin.certificates == 2
    assert verify(first, served.root).subject == verify(last, served.root).subject


def test_a_ci_job_signs_as_itself(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    error = served.refused(identity_token=None)
    assert "may not ask for identity tokens" in error.message
    assert "id-token: write" in error.remedy
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", f"{served.url}/identity?job=1")
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "of another job")
    assert "403" in served.refused(identity_token=None).message
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", CI_SECRET)
    assert verify(served.signer(identity_token=None).bundle(payload()), served.root).subject


def test_a_token_comes_from_a_file_or_a_variable(served: Served, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(served.standin.issuer.token("robot@example.test") + "\n")
    for how in ({"identity_token": str(file)}, {"identity_token": None, "environ": variable(file)}):
        assert served.signer(**how).name.startswith("robot@example.test ")
        assert verify(served.signer(**how).bundle(payload()), served.root).subject == (
            "robot@example.test"
        )


def variable(file: Path) -> Mapping[str, str]:
    return {keyless.TOKEN_VARIABLE: str(file)}


def test_the_identity_may_not_change_within_a_build(served: Served, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(served.standin.issuer.token("first@example.test"))
    now = [datetime.now(UTC)]
    signer = served.signer(identity_token=str(file), clock=lambda: now[0])
    signer.bundle(payload())
    file.write_text(served.standin.issuer.token("second@example.test"))
    now[0] += timedelta(hours=1)
    with pytest.raises(SignerError, match=r"the identity changed from first@"):
        signer.bundle(payload())


# ---- what cannot be signed


def test_a_token_that_cannot_serve_says_why(served: Served, tmp_path: Path) -> None:
    token = served.standin.issuer.token
    for given, words in (
        (token(lifetime=-100), "it has expired"),
        (token(audience="somebody else"), "its audience is not sigstore"),
        ("no.token.atall", "it is not one"),
        (str(tmp_path / "absent"), "neither a JWT nor a file"),
        (Issuer().token(), "answered 401"),
    ):
        error = served.refused(identity_token=given)
        assert words in error.message
        assert given not in error.message
    assert served.standin.certificates == 0


def test_nobody_to_sign_as_is_said(served: Served) -> None:
    error = served.refused(identity_token=None, environ={}, terminal=False)
    assert "nobody to sign as" in error.message
    assert keyless.TOKEN_VARIABLE in error.remedy


def test_a_token_that_runs_out_on_the_way_is_said(served: Served) -> None:
    ends = int(time.time()) + 6
    signer = served.signer(identity_token=served.standin.issuer.token(lifetime=6))
    assert signer.name
    # The token may be of the second after.
    time.sleep(max(0, ends + 1.1 - time.time()))
    with pytest.raises(SignerError, match=r"expired|validity period"):
        signer.bundle(payload())


def test_a_service_that_is_gone_is_said(tmp_path: Path) -> None:
    for served in served_by(Standin(), tmp_path):
        signer, late = served.signer(), served.signer()
        signer.bundle(payload())
    with pytest.raises(SignerError, match=r"could not be signed: .*/entries cannot be reached"):
        signer.bundle(payload())
    with pytest.raises(SignerError, match=r"no certificate was issued: .*cannot be reached"):
        late.bundle(payload())


def test_a_service_that_does_not_answer_is_not_waited_for(tmp_path: Path) -> None:
    answer = Event()

    class Slow(Standin):
        def certify(self, public_key: Any, claims: Mapping[str, str]) -> Any:
            answer.wait(20)
            return super().certify(public_key, claims)

    for served in served_by(Slow(), tmp_path):
        assert "no answer after" in served.refused(patience=0.5).message
        answer.set()


def test_the_public_instance_needs_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Where the library keeps what it knows of the public instance, and a way out that is none.
    for name in ("HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with pytest.raises(SignerError, match="cannot be brought up to date") as caught:
        keyless.signer(identity_token=Issuer().token()).bundle(payload())
    assert "network" in caught.value.remedy


@pytest.mark.parametrize(
    "content", [b"", b"{}", b'{"a": 1, "a": 1}', b"[" * 100_000, b"\xff", b'{"mediaType": "x"}']
)
def test_a_trust_configuration_that_is_none_is_refused(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "trust_config.json"
    file.write_bytes(content)
    with pytest.raises(SignerError, match=r"trust configuration"):
        keyless.signer(trust_config=file, identity_token=Issuer().token()).bundle(payload())
    with pytest.raises(SignerError, match=r"absent.json cannot be used: No such file"):
        keyless.signer(
            trust_config=tmp_path / "absent.json", identity_token=Issuer().token()
        ).bundle(payload())


class Liar(Standin):
    """A log whose answers were changed on the way."""

    change: Callable[[dict[str, Any]], Any]

    def record(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        ((uuid, answer),) = super().record(entry).items()
        self.change(answer)
        return {uuid: answer}


@pytest.mark.parametrize(
    "change",
    [
        lambda answer: answer.update(integratedTime=answer["integratedTime"] + 1),
        lambda answer: answer.update(logIndex=answer["logIndex"] + 1),
        lambda answer: answer["verification"].update(signedEntryTimestamp="AAAA"),
        lambda answer: answer["verification"]["inclusionProof"].update(rootHash="00" * 32),
        lambda answer: answer["verification"]["inclusionProof"].update(
            checkpoint=Log().checkpoint(1, b"\0" * 32)
        ),
        lambda answer: answer.pop("verification"),
        lambda answer: answer.clear(),
    ],
)
def test_a_log_that_lies_is_not_believed(
    change: Callable[[dict[str, Any]], Any], tmp_path: Path
) -> None:
    liar = Liar()
    liar.change = change
    for served in served_by(liar, tmp_path):
        error = served.refused()
        assert "could not be signed" in error.message or "does not hold" in error.message


def test_an_authority_that_is_not_the_trust_roots_is_not_believed(tmp_path: Path) -> None:
    stranger = Standin()
    for served in served_by(Standin(), tmp_path):
        config = json.loads(served.config.read_text())
        config["trustedRoot"] = stranger.trusted_root()
        served.config.write_text(json.dumps(config))
        assert "no certificate was issued" in served.refused().message


# ---- what cannot be verified


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("mediaType", "application/json", Reason.BUNDLE),
        ("dsseEnvelope payloadType", "text/plain", Reason.PAYLOAD_TYPE),
        ("dsseEnvelope payload", "e30=", Reason.SIGNATURE),
        ("dsseEnvelope signatures 0 sig", "AAAA", Reason.SIGNATURE),
        ("verificationMaterial certificate rawBytes", "AAAA", Reason.BUNDLE),
        ("verificationMaterial tlogEntries", [], Reason.BUNDLE),
        ("verificationMaterial tlogEntries 0 integratedTime", "1", Reason.TRUST_LOG),
        ("verificationMaterial tlogEntries 0 integratedTime", "9" * 30, Reason.BUNDLE),
        ("verificationMaterial tlogEntries 0 logIndex", "77", Reason.TRUST_LOG),
        ("verificationMaterial tlogEntries 0 logId keyId", "AAAA", Reason.TRUST_LOG),
        ("verificationMaterial tlogEntries 0 kindVersion kind", "intoto", Reason.TRUST_LOG),
        ("verificationMaterial tlogEntries 0 canonicalizedBody", "e30=", Reason.TRUST_LOG),
        ("verificationMaterial tlogEntries 0 inclusionProof hashes", [], Reason.TRUST_LOG),
        ("verificationMaterial tlogEntries 0 inclusionProof rootHash", "AAAA", Reason.TRUST_LOG),
        ("verificationMaterial tlogEntries 0 inclusionProof treeSize", "9", Reason.BUNDLE),
        (
            "verificationMaterial tlogEntries 0 inclusionProof checkpoint envelope",
            "log\n3\nAAAA\n\n",
            Reason.TRUST_LOG,
        ),
        (
            "verificationMaterial tlogEntries 0 inclusionPromise signedEntryTimestamp",
            "AAAA",
            Reason.TRUST_LOG,
        ),
    ],
)
def test_a_bundle_that_was_altered_is_refused(
    path: str, value: object, reason: Reason, altered: Callable[[str, object], bytes], root: Any
) -> None:
    with pytest.raises(EvidenceError) as caught:
        verify(altered(path, value), root)
    assert caught.value.reason == reason


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], trust.TrustRoot]:
    for served in served_by(Standin(), tmp_path_factory.mktemp("signed")):
        signer = served.signer()
        made = [signer.bundle(payload()) for _ in range(3)]
        root = served.root
    return canonical.load(made[-1]), root


@pytest.fixture
def root(signed: tuple[dict[str, Any], trust.TrustRoot]) -> trust.TrustRoot:
    assert verify(canonical.dump(signed[0]), signed[1]).subject == WORKFLOW
    return signed[1]


@pytest.fixture
def altered(signed: tuple[dict[str, Any], trust.TrustRoot]) -> Callable[[str, object], bytes]:
    def alter(path: str, value: object) -> bytes:
        document = copy.deepcopy(signed[0])
        inner: Any = document
        *steps, last = (int(step) if step.isdigit() else step for step in path.split())
        for step in steps:
            inner = inner[step]
        assert inner[last] != value
        inner[last] = value
        return canonical.dump(document)

    return alter


# ---- cosign


@dataclass(frozen=True)
class Cosign:
    """The cosign that Nix made, kept from every network but the loopback."""

    start: tuple[str, ...]
    folder: Path

    def __call__(self, *words: str, env: Mapping[str, str] | None = None) -> Result:
        dead = "http://127.0.0.1:1"
        apart = {"HTTPS_PROXY": dead, "HTTP_PROXY": dead, "HOME": str(self.folder)}
        return run(
            [*self.start, *words],
            cwd=self.folder,
            env={**apart, **(env or {})},
            deadline=300,
            check=False,
        )

    def verify(self, made: Path, root: Path, subject: str = WORKFLOW) -> Result:
        (self.folder / "artifact").write_bytes(ARTIFACT)
        return self(
            "verify-blob-attestation",
            "--new-bundle-format",
            *("--bundle", str(made), "--trusted-root", str(root)),
            *("--certificate-identity", subject, "--certificate-oidc-issuer", ISSUER),
            "artifact",
        )


@pytest.fixture
def cosign(digits: Project, tmp_path: Path) -> Cosign:
    (link,) = (digits.root / ".buildkit/nix").glob("digits-hostTools-*")
    tools = json.loads(link.read_text())
    loader = (tools["loader"], "--library-path", tools["library_path"])
    return Cosign((*loader, f"{tools['tools']}/usr/bin/cosign"), tmp_path)


@pytest.mark.nix
def test_cosign_accepts_what_we_sign(cosign: Cosign, served: Served, tmp_path: Path) -> None:
    signer = served.signer()
    for _ in range(3):
        (tmp_path / "bundle.json").write_bytes(signer.bundle(payload()))
    (tmp_path / "root.json").write_text(json.dumps(served.standin.trusted_root()))
    made, root = tmp_path / "bundle.json", tmp_path / "root.json"
    done = cosign.verify(made, root)
    assert (done.code, done.stderr.strip()) == (0, "Verified OK")
    assert cosign.verify(made, root, "https://example.test/somebody").code != 0
    root.write_text(json.dumps(Standin().trusted_root()))
    assert cosign.verify(made, root).code != 0


@pytest.mark.nix
def test_we_accept_what_cosign_signs(cosign: Cosign, served: Served, tmp_path: Path) -> None:
    standin = served.standin
    public = {"ct": standin.authority.log_key, "rekor": standin.log.key}
    for name, key in public.items():
        (tmp_path / f"{name}.pem").write_bytes(
            key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        )
    chain = (standin.authority.intermediate, standin.authority.root)
    (tmp_path / "chain.pem").write_bytes(b"".join(map(pem, chain)))
    (tmp_path / "ca.pem").write_bytes(pem(standin.authority.root))
    (tmp_path / "predicate.json").write_text('{"said": "by cosign"}')
    (tmp_path / "artifact").write_bytes(ARTIFACT)
    done = cosign(
        *("attest-blob", "--yes", "--new-bundle-format", "--bundle", "theirs.json"),
        *("--predicate", "predicate.json", "--type", TYPE),
        *("--fulcio-url", served.url, "--rekor-url", served.url),
        *("--identity-token", standin.issuer.token(), "artifact"),
        env={
            "SIGSTORE_CT_LOG_PUBLIC_KEY_FILE": "ct.pem",
            "SIGSTORE_REKOR_PUBLIC_KEY": "rekor.pem",
            "SIGSTORE_ROOT_FILE": "ca.pem",
        },
    )
    assert done.code == 0, done.stderr
    # A trust root as docs/keyless.md says to make one of one's own instance.
    done = cosign(
        *("trusted-root", "create", "--certificate-chain", "chain.pem"),
        *("--ctfe-key", "ct.pem", "--rekor-key", "rekor.pem", "--out", "root.json"),
    )
    assert done.code == 0, done.stderr
    theirs = bundle.parse((tmp_path / "theirs.json").read_bytes(), "theirs")
    for root in (served.root, trust.load(tmp_path / "root.json")):
        assert trust.verify(theirs, root, "theirs").subject == WORKFLOW
    said = statement.parse(theirs.envelope.payload, "theirs", older=True)
    assert said.predicate == {"said": "by cosign"}
    assert said.is_about("sha256:" + hashlib.sha256(ARTIFACT).hexdigest())
