"""Trust roots, and what they refuse, with bundles that the stand-in for Sigstore made."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import sys
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from buildkit.errors import EvidenceError, InputError
from buildkit.evidence import bundle, statement, trust
from buildkit.evidence.reasons import Reason
from buildkit.run import run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sigstore_standin import Standin

ROOT = Path(__file__).parents[3]
PAYLOAD = statement.Statement(
    subjects=(statement.Subject(name="vision", digest="sha256:" + "5" * 64),),
    predicate_type="https://example.test/said/v1",
    predicate={"result": "grün", "share": 0.5},
).payload()
CLAIMS = {
    "job_workflow_ref": "https://github.example.test/shop/vision/.github/workflows/build.yml@v1",
    "repository": "https://github.example.test/shop/vision",
    "event_name": "push",
}
NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
REFUSALS = {Reason.BUNDLE, Reason.SIGNATURE, Reason.TRUST_LOG}
PARSING = {Reason.BUNDLE, Reason.JSON, Reason.TOO_LARGE, Reason.PAYLOAD_TYPE}


@dataclass(frozen=True)
class Made:
    """A stand-in, its trust root, and two bundles that hold."""

    standin: Standin
    root: trust.TrustRoot
    good: dict[str, Any]
    stamped: dict[str, Any]

    def verify(self, document: Any, root: trust.TrustRoot | None = None) -> trust.Identity:
        return verify(json.dumps(document).encode(), root or self.root)

    def refused(self, document: Any, root: trust.TrustRoot | None = None) -> str:
        with pytest.raises(EvidenceError) as caught:
            self.verify(document, root)
        assert "\n" not in caught.value.message
        return caught.value.reason

    def certified(self, **how: Any) -> dict[str, Any]:
        """A bundle whose certificate was made to order."""
        from sigstore_parts import ISSUER, extensions, new_key

        key = new_key()
        start = datetime.now(UTC).replace(microsecond=0)
        how = {
            "names": [x509.UniformResourceIdentifier("https://example.test/me")],
            "extensions": extensions({"iss": ISSUER}),
            "at": start,
            "log_key": self.standin.authority.log_key,
            **how,
        }
        certificate = self.standin.authority.certify(key.public_key(), **how)
        at = int(start.timestamp())
        return self.standin.bundle(PAYLOAD, certificate=certificate, key=key, at=at)


def verify(raw: bytes, root: trust.TrustRoot) -> trust.Identity:
    return trust.verify(bundle.parse(raw, "the bundle"), root, "the bundle")


def root_of(document: Any) -> trust.TrustRoot:
    return trust.parse(json.dumps(document).encode(), "the root")


@pytest.fixture(scope="session")
def made() -> Made:
    sys.path.append(str(ROOT / "tests/integration"))
    from sigstore_standin import Standin

    standin = Standin()
    # An inclusion proof with a path in it.
    for number in range(6):
        standin.log.add(b"somebody else's entry %d" % number)
    document = standin.bundle(PAYLOAD)
    return Made(standin, root_of(standin.trusted_root()), document, standin.stamped(PAYLOAD))


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, (*path, name))
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            yield from leaves(inner, (*path, at))
    else:
        yield path


def changed(document: Any, path: tuple[str | int, ...], new: Callable[[Any], Any]) -> Any:
    """A copy in which one value is another, or is gone where `new` gives None."""
    document = copy.deepcopy(document)
    inner = document
    for step in path[:-1]:
        inner = inner[step]
    value = new(inner[path[-1]])
    if value is None:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return document


def to(value: Any) -> Callable[[Any], Any]:
    return lambda _: value


def other(text: str) -> str:
    """The same text with one character in its middle changed, digits staying digits."""
    at = len(text) // 2
    swap = str((int(text[at]) + 1) % 10) if text[at].isdigit() else "B" if text[at] == "A" else "A"
    return text[:at] + swap + text[at + 1 :]


# ---- whom it says


def test_the_identity_is_the_certificates(made: Made) -> None:
    from sigstore_parts import ISSUER, WORKFLOW

    identity = made.verify(made.good)
    assert (identity.subject, identity.issuer) == (WORKFLOW, ISSUER)
    entry = made.good["verificationMaterial"]["tlogEntries"][0]
    assert int(identity.signed_at.timestamp()) == int(entry["integratedTime"])
    assert identity.claims == {}


def test_what_else_was_vouched_for_is_given_back(made: Made) -> None:
    from sigstore_parts import ISSUER, extensions

    said = {"iss": ISSUER, **CLAIMS}
    old = {f"1.3.6.1.4.1.57264.1.{n}": f"old {n}".encode() for n in (2, 5, 6)}
    identity = made.verify(made.certified(extensions={**extensions(said), **old}))
    assert identity.claims == {
        "build_signer_uri": CLAIMS["job_workflow_ref"],
        "source_repository_uri": CLAIMS["repository"],
        "build_trigger": "push",
        "github_workflow_trigger": "old 2",
        "github_workflow_repository": "old 5",
        "github_workflow_ref": "old 6",
    }


@pytest.mark.parametrize(
    ("name", "subject"),
    [
        (x509.RFC822Name("a@example.test"), "a@example.test"),
        (x509.UniformResourceIdentifier("https://example.test/x"), "https://example.test/x"),
        (
            x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.7"), b"\x0c\x05robot"),
            "robot",
        ),
    ],
)
def test_every_kind_of_name_is_read(made: Made, name: x509.GeneralName, subject: str) -> None:
    assert made.verify(made.certified(names=[name])).subject == subject


def test_either_extension_names_the_issuer(made: Made) -> None:
    from sigstore_parts import ISSUER, extensions

    for number in (1, 8):
        oid = f"1.3.6.1.4.1.57264.1.{number}"
        only = {oid: extensions({"iss": ISSUER})[oid]}
        assert made.verify(made.certified(extensions=only)).issuer == ISSUER


# ---- what it refuses


def test_certificates_that_say_two_things_are_refused(made: Made) -> None:
    from sigstore_parts import ISSUER, extensions

    two = [x509.RFC822Name("a@example.test"), x509.RFC822Name("b@example.test")]
    assert made.refused(made.certified(names=two)) == Reason.TRUST_LOG
    mixed = {**extensions({"iss": ISSUER}), "1.3.6.1.4.1.57264.1.1": b"https://other.example.test"}
    assert made.refused(made.certified(extensions=mixed)) == Reason.TRUST_LOG
    assert made.refused(made.certified(extensions={})) == Reason.TRUST_LOG


def test_a_certificate_that_no_log_has_seen_is_refused(made: Made) -> None:
    from sigstore_parts import new_key

    assert made.refused(made.certified(log_key=None)) == Reason.TRUST_LOG
    assert made.refused(made.certified(log_key=new_key())) == Reason.TRUST_LOG


def test_a_certificate_of_another_time_is_refused(made: Made) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    for minutes in (11, -11):
        at = now - timedelta(minutes=minutes)
        assert made.refused(made.certified(at=at)) == Reason.TRUST_LOG


def test_another_instance_is_not_believed(made: Made) -> None:
    from sigstore_standin import Standin

    stranger = Standin()
    assert made.refused(stranger.bundle(PAYLOAD)) == Reason.TRUST_LOG
    # Its authority alone, or its log alone, does not help.
    ours, theirs = made.standin.trusted_root(), stranger.trusted_root()
    for part in ("certificateAuthorities", "tlogs", "ctlogs"):
        mixed = root_of({**ours, part: theirs[part]})
        assert made.refused(made.good, mixed) == Reason.TRUST_LOG


def test_who_was_out_of_use_is_not_believed(made: Made) -> None:
    document = made.standin.trusted_root()
    ended = "2026-01-01T00:00:00Z"
    for path in (
        ("tlogs", 0, "publicKey", "validFor"),
        ("ctlogs", 0, "publicKey", "validFor"),
        ("certificateAuthorities", 0, "validFor"),
    ):
        span = {"start": "2020-01-01T00:00:00Z", "end": ended}
        retired = root_of(changed(document, path, to(span)))
        assert made.refused(made.good, retired) == Reason.TRUST_LOG
        begun = {"start": "2020-01-01T00:00:00Z"}
        in_use = root_of(changed(document, path, to(begun)))
        assert made.verify(made.good, in_use) == made.verify(made.good)


def test_a_bundle_with_a_key_has_no_identity(made: Made) -> None:
    document = copy.deepcopy(made.good)
    document["verificationMaterial"] = {"publicKey": {"hint": "aGludA=="}}
    assert made.refused(document) == Reason.BUNDLE


def test_the_proof_must_be_about_the_tree_that_was_signed(made: Made) -> None:
    path = ("verificationMaterial", "tlogEntries", 0, "inclusionProof", "treeSize")
    for size in ("8", "9", "007", "+7", "7 "):
        assert made.refused(changed(made.good, path, to(size))) == Reason.BUNDLE


def test_every_value_that_is_changed_is_found(made: Made) -> None:
    paths = list(leaves(made.good))
    assert len(paths) > 15
    for path in paths:
        reason = made.refused(changed(made.good, path, other))
        assert reason in REFUSALS | {Reason.PAYLOAD_TYPE}, path
    assert made.refused(changed(made.good, ("dsseEnvelope", "payload"), other)) == Reason.SIGNATURE


def test_every_value_that_is_missing_is_missed(made: Made) -> None:
    for path in leaves(made.good):
        reason = made.refused(changed(made.good, path, to(None)))
        assert reason in REFUSALS | {Reason.PAYLOAD_TYPE}, path


def test_one_signature_does_not_serve_two_statements(made: Made) -> None:
    second = made.standin.bundle(PAYLOAD.replace(b"0.5", b"0.6"))
    for part in ("certificate", "tlogEntries"):
        mixed = copy.deepcopy(made.good)
        mixed["verificationMaterial"][part] = second["verificationMaterial"][part]
        expected = Reason.SIGNATURE if part == "certificate" else Reason.TRUST_LOG
        assert made.refused(mixed) == expected
    doubled = copy.deepcopy(made.good)
    doubled["verificationMaterial"]["tlogEntries"] *= 2
    assert made.refused(doubled) == Reason.BUNDLE


def test_what_protojson_leaves_out_is_understood(made: Made) -> None:
    from sigstore_standin import Standin

    standin = Standin()
    first = standin.bundle(PAYLOAD)
    entry = first["verificationMaterial"]["tlogEntries"][0]
    del entry["logIndex"], entry["inclusionProof"]["logIndex"], entry["inclusionProof"]["hashes"]
    assert made.verify(first, root_of(standin.trusted_root())).subject


# ---- Rekor v2: a timestamp in place of the log's promise


def test_a_timestamp_gives_the_time_where_the_log_gives_none(made: Made) -> None:
    at = datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=3)
    stamped = made.standin.stamped(PAYLOAD, at=at)
    assert made.verify(stamped).signed_at == at
    # Without a promise nobody signs an entry's index in the log, or the log's own name.
    unsigned = {"logIndex", "keyId"}
    for path in leaves(stamped):
        mangled = changed(stamped, path, other)
        if path[-1] in unsigned and path[-2] != "inclusionProof":
            same_or_refused(made, json.dumps(mangled).encode(), stamped)
        else:
            assert made.refused(mangled) in REFUSALS | {Reason.PAYLOAD_TYPE}, path


def test_a_timestamp_that_does_not_fit_is_refused(made: Made) -> None:
    from sigstore_standin import Standin

    late = datetime.now(UTC) + timedelta(minutes=11)
    assert made.refused(made.standin.stamped(PAYLOAD, at=late)) == Reason.TRUST_LOG
    for times in (0, 2):
        assert made.refused(made.standin.stamped(PAYLOAD, times=times)) == Reason.BUNDLE
    first, second = made.standin.stamped(PAYLOAD), made.standin.stamped(PAYLOAD)
    mixed = copy.deepcopy(first)
    path = "timestampVerificationData"
    mixed["verificationMaterial"][path] = second["verificationMaterial"][path]
    assert made.refused(mixed) == Reason.TRUST_LOG
    document = made.standin.trusted_root()
    theirs = Standin().trusted_root()["timestampAuthorities"]
    for count in (0, 1):
        stranger = root_of({**document, "timestampAuthorities": theirs[:count]})
        assert made.refused(first, stranger) == Reason.TRUST_LOG
    retired = changed(
        document,
        ("timestampAuthorities", 0, "validFor"),
        to({"start": "2020-01-01T00:00:00Z", "end": "2021-01-01T00:00:00Z"}),
    )
    assert made.refused(first, root_of(retired)) == Reason.TRUST_LOG


# ---- whatever comes


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=30) | st.binary().map(str),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=5,
)


@settings(max_examples=300)
@given(data=st.data())
def test_a_bundle_with_anything_in_it_is_refused_or_the_same(made: Made, data: Any) -> None:
    paths = list(leaves(made.good))
    prefixes = sorted({path[: n + 1] for path in paths for n in range(len(path))}, key=str)
    path = data.draw(st.sampled_from(prefixes))
    same_or_refused(
        made, json.dumps(changed(made.good, path, lambda _: data.draw(JSON_VALUES))).encode()
    )


@settings(max_examples=300)
@given(data=st.data())
def test_a_bundle_with_other_bytes_is_refused_or_the_same(made: Made, data: Any) -> None:
    raw = bytearray(json.dumps(made.good).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at] = data.draw(st.integers(0, 255))
    same_or_refused(made, bytes(raw))


STAMP = ("verificationMaterial", "timestampVerificationData", "rfc3161Timestamps", 0)
BINARY = (
    (*STAMP, "signedTimestamp"),
    ("verificationMaterial", "certificate", "rawBytes"),
    ("verificationMaterial", "tlogEntries", 0, "canonicalizedBody"),
    ("verificationMaterial", "tlogEntries", 0, "inclusionPromise", "signedEntryTimestamp"),
    ("dsseEnvelope", "payload"),
    ("dsseEnvelope", "signatures", 0, "sig"),
)


@settings(max_examples=300)
@given(data=st.data())
def test_a_bundle_with_other_bytes_inside_is_refused(made: Made, data: Any) -> None:
    path = data.draw(st.sampled_from(BINARY))
    good = made.stamped if path[: len(STAMP)] == STAMP else made.good

    def mangle(text: str) -> str:
        raw = bytearray(base64.b64decode(text))
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(1, 3))] = data.draw(st.binary(max_size=3))
        return base64.b64encode(raw).decode()

    same_or_refused(made, json.dumps(changed(good, path, mangle)).encode(), good)


def same_or_refused(made: Made, raw: bytes, good: Any = None) -> None:
    try:
        found = bundle.parse(raw, "the bundle")
        identity = trust.verify(found, made.root, "the bundle")
    except EvidenceError as error:
        assert error.reason in REFUSALS | PARSING  # noqa: PT017 - it need not be refused
        return
    assert identity == made.verify(good or made.good)
    assert found.envelope.payload == PAYLOAD


@settings(max_examples=200)
@given(data=st.data())
def test_a_trust_root_with_anything_in_it_is_refused_or_used(made: Made, data: Any) -> None:
    document = made.standin.trusted_root()
    path = data.draw(st.sampled_from(list(leaves(document))))
    if path[0] == "mediaType":
        return
    mangled = changed(document, path[: data.draw(st.integers(1, len(path)))], to(None))
    if data.draw(st.booleans()):
        mangled = changed(document, path, lambda _: data.draw(JSON_VALUES))
    try:
        made.verify(made.good, root_of(mangled))
    except InputError as error:
        assert error.remedy  # noqa: PT017 - it need not be refused
    except EvidenceError as error:
        assert error.reason == Reason.TRUST_LOG  # noqa: PT017 - as above


@given(data=st.binary(max_size=400))
def test_bytes_that_are_no_trust_root_are_refused(data: bytes) -> None:
    with pytest.raises(InputError):
        trust.parse(data, "the root")


# ---- the trust root itself


def test_a_trust_root_is_known_by_its_digest(made: Made, tmp_path: Path) -> None:
    file = tmp_path / "trusted_root.json"
    data = json.dumps(made.standin.trusted_root()).encode()
    file.write_bytes(data)
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    assert trust.load(file, digest=digest) == trust.load(file) == made.root
    with pytest.raises(EvidenceError, match="has digest") as caught:
        trust.load(file, digest="sha256:" + "0" * 64)
    assert caught.value.reason == Reason.BLOB_DIGEST
    with pytest.raises(InputError, match="No such file"):
        trust.load(tmp_path / "absent.json")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda root: root.pop("mediaType"), "'mediaType' is missing"),
        (lambda root: root.update(mediaType="application/json"), "media type"),
        (lambda root: root.update(tlogs=[]), "`tlogs` is missing or empty"),
        (lambda root: root.pop("certificateAuthorities"), "`certificateAuthorities` is missing"),
        (lambda root: root["ctlogs"][0].pop("publicKey"), "'publicKey' is missing"),
        (lambda root: root.update(tlogs=[1]), "not a trust root"),
        (
            lambda root: root["tlogs"][0]["publicKey"].update(validFor={"start": "2020-01-01"}),
            "has no time zone",
        ),
    ],
)
def test_a_trust_root_that_lacks_something_says_so(
    made: Made, change: Callable[[Any], Any], words: str
) -> None:
    document = made.standin.trusted_root()
    change(document)
    with pytest.raises(InputError) as caught:
        root_of(document)
    assert words in caught.value.message
    assert caught.value.remedy


def test_an_entry_that_cannot_be_read_is_the_verifiers_own_mistake(made: Made) -> None:
    path = ("certificateAuthorities", 0, "certChain", "certificates", 0, "rawBytes")
    broken = root_of(changed(made.standin.trusted_root(), path, to("AAAA")))
    with pytest.raises(InputError, match="cannot be read"):
        made.verify(made.good, broken)


@pytest.mark.parametrize(
    ("obtained", "holds"),
    [
        (date(2026, 7, 1), True),
        (date(2026, 7, 2), True),
        (date(2026, 7, 3), False),
        (date(2026, 4, 2), True),
        (date(2026, 4, 1), False),
        (date(1970, 1, 1), False),
    ],
)
def test_a_trust_root_ages(made: Made, obtained: date, *, holds: bool) -> None:
    limit = timedelta(days=90)
    if holds:
        made.root.refuse_stale(obtained=obtained, limit=limit, now=NOW)
        return
    with pytest.raises(EvidenceError) as caught:
        made.root.refuse_stale(obtained=obtained, limit=limit, now=NOW)
    assert caught.value.reason == Reason.TRUST_EXPIRED
    assert caught.value.remedy


@pytest.mark.parametrize("instance", ["sigstore.dev", "sigstage.dev"])
def test_the_public_instances_trust_root_is_understood(instance: str) -> None:
    store = resources.files("sigstore") / "_store"
    (folder,) = [each for each in store.iterdir() if each.name.endswith(instance)]
    root = trust.parse((folder / "trusted_root.json").read_bytes(), instance)
    assert {each.kind for each in root.services} >= {"certificateAuthorities", "ctlogs", "tlogs"}
    trust._verifier(root.at(datetime(2026, 1, 2, tzinfo=UTC)))


def test_the_public_instances_trust_root_knows_who_was_retired() -> None:
    store = resources.files("sigstore") / "_store"
    (folder,) = [each for each in store.iterdir() if each.name.endswith("sigstore.dev")]
    root = trust.parse((folder / "trusted_root.json").read_bytes(), "public")
    early, late = (
        json.loads(root.at(datetime(year, 6, 1, tzinfo=UTC)))["ctlogs"] for year in (2022, 2026)
    )
    assert [each["baseUrl"] for each in early] != [each["baseUrl"] for each in late]
    with pytest.raises(EvidenceError, match="no certificate authority"):
        root.at(datetime(2019, 1, 1, tzinfo=UTC))


def test_importing_costs_nothing_heavy() -> None:
    program = (
        "import sys, buildkit.evidence.keyless, buildkit.evidence.trust;"
        "print([each for each in ('sigstore', 'cryptography', 'pydantic', 'requests')"
        " if each in sys.modules])"
    )
    assert run([sys.executable, "-c", program], cwd=ROOT).text.strip() == "[]"
