"""What a build says about itself, on real parts: written, signed, the same elsewhere, verified."""

from __future__ import annotations

import json
import shutil
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from real_project import Project, make_project
from sigstore_parts import ISSUER, WORKFLOW
from sigstore_standin import Standin

from buildkit import canonical, digests
from buildkit.evidence import builds, bundle, kinds, referrers, statement
from buildkit.evidence.keys.private import PASSPHRASE_VARIABLE
from buildkit.run import run

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

pytestmark = [pytest.mark.nix, pytest.mark.engine]

REF = "digits:1.0.0"
MODEL = "digits-model:1.0.0"


@pytest.fixture
def copy(digits: Project, tmp_path: Path) -> Project:
    """A store of its own with what `digits` built; no recipe, no lock, no repository."""
    alone = Project(tmp_path / "auditor", "digits")
    shutil.copytree(digits.store.root, alone.root / ".buildkit/store")
    return alone


def verdict(project: Project, ref: str, *words: str | Path, **how: Any) -> dict[str, Any]:
    done = project.cli("verify", ref, "--json", *words, status=None, **how)
    assert done.returncode in {0, 1}, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == (0 if found["holds"] else 1)
    return found


def reasons(found: Mapping[str, Any]) -> set[str]:
    return {each["reason"] for each in found["findings"]}


@pytest.mark.parametrize("ref", [REF, MODEL])
def test_what_was_built_holds(digits: Project, ref: str) -> None:
    found = verdict(digits, ref)
    assert found["findings"] == []
    parts = {each["role"]: set(each["evidence"]) for each in found["checked"]["artifacts"]}
    assert parts["model"] == {"cyclonedx", "spdx", "provenance", "run"}
    if ref == REF:
        assert parts["platform"] == {"cyclonedx", "spdx", "provenance", "run"}
        assert parts["image"] == {"provenance", "run"}
        assert found["checked"]["packages"] >= 30
        assert found["checked"]["materials"] >= 150


def test_every_statement_is_listed_kept_and_attached(digits: Project) -> None:
    result = digits.build()
    store = digits.store
    build = builds.find(store, result["image"]["digest"])
    kept = {digests.of_bytes(payload): payload for payload in build.statements}
    # That of the run is not listed, because the result is reproducible.
    assert {each["digest"] for each in result["statements"]} < set(kept)
    said = [statement.parse(payload, "it") for payload in kept.values()]
    words = [kinds.BY_TYPE[each.predicate_type].name for each in said]
    assert sorted(words) == sorted(["provenance", "run", *["cyclonedx", "spdx"] * 4])
    known = builds.artifacts(store, build.result)
    for each, payload in zip(said, kept.values(), strict=True):
        assert each.payload() == payload
        for subject in each.subjects:
            if subject.digest not in known:
                assert subject.name == "model.onnx"
                continue
            attached = [
                bundle.parse(found.bundle, "it").envelope.payload
                for found in referrers.find(store, subject.digest)
                if isinstance(found, referrers.Found)
            ]
            assert payload in attached


def test_a_build_with_nothing_to_do_adds_nothing(digits: Project) -> None:
    before = digits.store.entries()
    assert digits.build()["cached"] is True
    assert digits.store.entries() == before


def test_somebody_else_says_the_same_with_another_key(digits: Project, project: Project) -> None:
    here = project.build(env={"EDGE_BUILDKIT_KEYS": str(project.root / "keys"), "TZ": "Asia/Tokyo"})
    there = digits.build()
    assert here["statements"] == there["statements"]
    assert len(here["statements"]) == 9
    # Trusted there, and by nobody else.
    assert verdict(project, REF, "--keys", project.root / "keys")["holds"]
    assert reasons(verdict(project, REF)) == {"signer-unknown", "evidence-missing"}


def test_unsigned_then_signed(project: Project) -> None:
    result = project.build("--signer", "none")
    assert reasons(verdict(project, REF)) == {"evidence-missing"}
    # The same build, now with somebody to sign: it is not taken for done.
    assert project.build()["cached"] is False
    assert verdict(project, REF)["holds"]
    assert project.build()["statements"] == result["statements"]
    assert project.build("--signer", "none")["cached"] is True


def test_a_key_that_is_rotated_and_retired(copy: Project, tmp_path: Path) -> None:
    keys = {"EDGE_BUILDKIT_KEYS": str(tmp_path / "keys"), PASSPHRASE_VARIABLE: "korrekt"}
    assert reasons(verdict(copy, REF, env=keys)) == {"signer-unknown", "evidence-missing"}
    policy = tmp_path / "policy.toml"
    policy.write_text('schema = 1\n[trust]\nown_keys = true\n[accept]\nothers = "ignore"\n')
    first = json.loads(copy.cli("keys", "make", "--json", env=keys).stdout)["key"]["id"]
    copy.cli("sign", REF, env=keys)
    assert verdict(copy, REF, "--policy", policy, env=keys)["holds"]
    copy.cli("sign", REF, env={**keys, PASSPHRASE_VARIABLE: "falsch"}, status=2)
    copy.cli("keys", "rotate", env=keys)
    assert verdict(copy, REF, "--policy", policy, env=keys)["holds"]
    copy.cli("keys", "retire", first, env=keys)
    assert "signer-retired" in reasons(verdict(copy, REF, "--policy", policy, env=keys))


def test_evidence_is_printed_as_it_was_signed(digits: Project) -> None:
    listed = json.loads(digits.cli("evidence", REF, "--json").stdout)["evidence"]
    assert {each["kind"] for each in listed} == {"cyclonedx", "spdx", "provenance", "run"}
    bom = json.loads(
        digits.cli("evidence", REF, "--kind", "cyclonedx", "--about", "linux/arm64").stdout
    )
    locked = json.loads(digits.lock.read_bytes())["platforms"]["linux/arm64"]
    names = {each["name"] for each in bom["components"]}
    assert {pin["name"] for pin in [*locked["debian"], *locked["wheels"]]} <= names
    which = digits.cli("evidence", REF, "--kind", "spdx", status=2).stderr
    assert "2 statements of kind spdx" in which
    assert "linux/amd64, linux/arm64" in which
    digits.cli("evidence", REF, "--kind", "poem", status=2)


def test_a_rebuild_is_signed_and_a_policy_may_ask_for_it(copy: Project, tmp_path: Path) -> None:
    other = {"EDGE_BUILDKIT_KEYS": str(tmp_path / "other")}
    policy = tmp_path / "policy.toml"
    exported = tmp_path / "other.pub"
    copy.cli("keys", "make", env=other)
    exported.write_text(copy.cli("keys", "export", env=other).stdout)
    policy.write_text(
        'schema = 1\n[trust]\nown_keys = true\n[rebuilders]\nneeded = 1\nkeys = ["other.pub"]\n'
    )
    assert "evidence-missing" in reasons(verdict(copy, REF, "--policy", policy))
    answer = json.loads(copy.cli("rebuild", REF, "--json", env=other).stdout)
    assert answer["identical"] is True
    # Image, platforms and models with all their parts, and every statement about them.
    assert answer["compared"] >= 30
    assert verdict(copy, REF, "--policy", policy)["findings"] == []


def test_keyless_from_the_build_to_the_verdict(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    standin = Standin()
    monkeypatch.setenv("SIGSTORE_ID_TOKEN", standin.issuer.token())
    config = tmp_path / "trust_config.json"
    with standin.serve() as url:
        config.write_text(json.dumps(standin.trust_config(url)))
        project.build("--signer", "keyless", "--trust-config", config)
    # From here on there is no service any more.
    root = canonical.dump(standin.trusted_root())
    (tmp_path / "trusted_root.json").write_bytes(root)
    policy = tmp_path / "policy.toml"
    text = f"""schema = 1
[trust]
root = "trusted_root.json"
root_digest = "{digests.of_bytes(root)}"
root_obtained = {datetime.now(UTC).date()}
root_max_age = 2
[[trust.identities]]
issuer = "{ISSUER}"
subject = "{WORKFLOW}"
"""
    policy.write_text(text)
    assert verdict(project, REF, "--policy", policy)["findings"] == []
    policy.write_text(text.replace(WORKFLOW, "https://ci.example.test/somebody-else"))
    assert "signer-unknown" in reasons(verdict(project, REF, "--policy", policy))
    assert reasons(verdict(project, REF)) >= {"evidence-missing"}


def test_a_program_signs(copy: Project, tmp_path: Path) -> None:
    key, program = tmp_path / "key.pem", tmp_path / "hsm"
    copy.cli("show")
    program.write_text(f"""#!/bin/sh
case $1 in
public-key) exec openssl pkey -in {key} -pubout ;;
sign) exec openssl dgst -sha256 -sign {key} ;;
esac
""")
    program.chmod(0o755)
    run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-out", key])  # fmt: skip
    public = run([program, "public-key"]).stdout
    (tmp_path / "hsm.pub").write_bytes(public)
    copy.cli("sign", REF, "--signer", f"exec:{program}")
    policy = tmp_path / "policy.toml"
    policy.write_text(
        'schema = 1\n[trust]\nown_keys = true\nkeys = ["hsm.pub"]\n[require]\nsignatures = 2\n'
    )
    assert verdict(copy, REF, "--policy", policy)["findings"] == []
    policy.write_text("schema = 1\n[require]\nsignatures = 2\n")
    assert "evidence-missing" in reasons(verdict(copy, REF, "--policy", policy))


def test_syft_is_asked_about_an_app_that_brings_packages(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project", "digits")
    folder = project.folder / "app/vendored/tiny-1.2.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny\nVersion: 1.2\n")
    (folder / "RECORD").write_text("")
    dockerfile = project.folder / "app/Dockerfile"
    text = dockerfile.read_text()
    assert "COPY" in text
    lines = text.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("COPY"))
    lines.insert(at + 1, "COPY vendored /app/vendored")
    dockerfile.write_text("\n".join(lines) + "\n")
    result = project.build()
    assert len(result["findings"]) == 2
    assert all("tiny 1.2" in each for each in result["findings"])
    bom = json.loads(
        project.cli("evidence", REF, "--kind", "cyclonedx", "--about", "linux/arm64").stdout
    )
    (tiny,) = [each for each in bom["components"] if each["name"] == "tiny"]
    assert tiny["purl"] == "pkg:pypi/tiny@1.2"
    assert verdict(project, REF)["findings"] == []


def test_a_models_files_as_others_sign_them(copy: Project, tmp_path: Path) -> None:
    copy.cli("sign", MODEL, "--model-signing", tmp_path / "out", status=2)
    (model, *_) = copy.store.read_json(copy.store.resolve(MODEL).digest)["manifests"]
    words = ("sign", model["digest"], "--model-signing", tmp_path / "out")
    copy.cli(*words)
    assert "is not empty" in copy.cli(*words, status=2).stderr
    public = tmp_path / "our.pub"
    public.write_text(copy.cli("keys", "export").stdout)
    judge: list[str | Path] = [
        *(sys.executable, "-m", "model_signing", "verify", "key"),
        *("--signature", tmp_path / "out/model.sig", "--public_key", public, tmp_path / "out"),
    ]
    assert "succeeded" in run(judge).text
    with (tmp_path / "out/model.onnx").open("ab") as file:
        file.write(b"!")
    assert run(judge, check=False).code != 0


def test_the_form_that_cosign_had_before(copy: Project) -> None:
    told = json.loads(copy.cli("sign", REF, "--classic", "--json").stdout)
    subject = digests.hex_of(copy.store.resolve(REF).digest)
    older = copy.store.resolve(f"sha256-{subject}.att")
    assert older.digest in told["referrers"]
    layers = copy.store.read_json(older.digest)["layers"]
    types = {layer["annotations"]["predicateType"] for layer in layers}
    assert types == {kinds.PROVENANCE.predicate_type, kinds.RUN.predicate_type}
    assert verdict(copy, REF)["findings"] == []
