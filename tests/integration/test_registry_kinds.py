"""A real build to two kinds of registry, found there by others' tools, and back to a clean machine.

One registry has no referrers API (Debian's docker-registry), one has it (go-containerregistry).
Both are behind TLS with a certificate of a private authority; the one wants tokens, the other a
password.
"""

from __future__ import annotations

import io
import json
import os
import random
import re
import shutil
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from real_project import Project
from registry_kinds import PASSWORD as SECRET
from registry_kinds import USER as NAME
from registry_kinds import Authority, TokenService, listing, logged_in
from registry_line import Line
from registry_parts import everything, serving, way

from buildkit import media
from buildkit.errors import RegistryError
from buildkit.evidence import bundle
from buildkit.evidence.keys import change
from buildkit.pipeline import registries
from buildkit.registry.credentials import PASSWORD, USER
from buildkit.store import Store, archive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from real_project import Docker
    from registry_parts import Tools

    from buildkit.registry import Event

pytestmark = [pytest.mark.nix, pytest.mark.engine]

NATIVE = "linux/arm64" if os.uname().machine == "aarch64" else "linux/amd64"
REF, MODEL = "digits:1.0.0", "digits-model:1.0.0"
SEED = int(os.environ.get("EDGE_BUILDKIT_TEST_SEED", "6"))


@dataclass(frozen=True)
class Place:
    """A registry that runs."""

    address: str
    authority: Authority
    listed_by: str


@contextmanager
def tokens(folder: Path, lives_s: int) -> Iterator[tuple[Place, TokenService]]:
    """Without the referrers API, for whoever has a token."""
    authority = Authority.made(folder)
    tls = {"tls": {"certificate": str(authority.chain), "key": str(authority.key)}}
    with TokenService(authority, lives_s).serving() as service:
        more = {**service.settings(), "http": tls}
        with serving(folder, more=more) as address:
            yield Place(address, authority, "tag"), service


@contextmanager
def without_api(folder: Path) -> Iterator[Place]:
    with tokens(folder, 300) as (place, service):
        yield place
        assert service.given


@contextmanager
def with_api(folder: Path) -> Iterator[Place]:
    authority = Authority.made(folder)
    with listing(folder, authority, SECRET) as address:
        yield Place(address, authority, "api")


@pytest.fixture
def signed(digits: Project, tmp_path: Path) -> Project:
    """The digits recipe's store, with what older cosign looks for in it."""
    copied = Project(tmp_path / "publisher", "digits")
    shutil.copytree(digits.store.root, copied.root / ".buildkit/store")
    copied.cli("sign", REF, "--classic")
    return copied


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "registry").mkdir()
    return tmp_path / "registry"


@pytest.mark.parametrize("kind", [without_api, with_api])
def test_published_found_pulled_verified_and_run(
    kind: Callable[[Path], Any],
    folder: Path,
    signed: Project,
    tools: Tools,
    docker_api: Docker,
) -> None:
    home = folder.parent
    pub = home / "our.pub"
    pub.write_text(signed.cli("keys", "export").stdout)
    store = signed.store
    with kind(folder) as place:
        target = f"{place.address}/team/digits"
        words = ("--classic", "--json", "--ca", place.authority.ca)
        login = {"DOCKER_CONFIG": str(logged_in(home / "docker", place.address))}
        pushed = json.loads(signed.cli("push", REF, target, *words, env=login).stdout)
        assert pushed["counted"]["listed_by"] == place.listed_by
        assert pushed["digest"] == store.resolve(REF).digest
        theirs = {**login, "SSL_CERT_FILE": str(place.authority.ca)}
        _found_by_others(tools, target, store, pub, theirs)
        machine = _CleanMachine(home / "clean", target, place.authority)
        machine.pulls()
    machine.verifies(pub)
    pulled = Store.open(machine.store)
    wanted = everything(store, REF)
    assert everything(pulled, REF) == wanted
    assert pulled.resolve(MODEL).digest == store.resolve(MODEL).digest
    assert pulled.check() == ()
    _answers_for_a_digit(pulled, docker_api)


def _found_by_others(
    tools: Tools, target: str, store: Store, pub: Path, env: dict[str, str]
) -> None:
    """oras and cosign find on every part what hangs on it here."""
    checked = 0
    for name in (REF, MODEL):
        top = store.resolve(name).digest
        for digest in (top, *(each["digest"] for each in store.read_json(top)["manifests"])):
            ref = f"{target}@{digest}"
            words = ("discover", "--ca-file", env["SSL_CERT_FILE"], "--format", "json", ref)
            listed = json.loads(tools("oras", *words, env=env).stdout)["manifests"]
            hanging = store.referrers(digest)
            assert {each["digest"] for each in listed} == {each.digest for each in hanging}
            tree = tools("cosign", "tree", ref, env=env).stdout.decode()
            for kind in {
                str(each.annotations["dev.sigstore.bundle.predicateType"])
                for each in hanging
                if each.artifact_type == bundle.MEDIA_TYPE
            }:
                done = tools.checks(ref, pub, kind, env=env)
                assert done.returncode == 0, done.stderr.decode()
                older = tools(
                    "cosign",
                    *("verify-attestation", "--key", pub, "--insecure-ignore-tlog"),
                    *("--type", kind, ref),
                    env=env,
                )
                assert b"Verification for" in older.stderr
                assert "Attestations for an image" in tree
                checked += 1
    assert checked == 2 * 2 + 4 * 4


@dataclass(frozen=True)
class _CleanMachine:
    """No Nix, no Docker, no home, no keys of its own; nothing in PATH."""

    folder: Path
    target: str
    authority: Authority

    @property
    def store(self) -> Path:
        return self.folder / "store"

    def pulls(self) -> None:
        login = {USER: NAME, PASSWORD: SECRET}
        self._cli("pull", f"{self.target}:1.0.0", "--ca", self.authority.ca, env=login)

    def verifies(self, pub: Path) -> None:
        """Without a network; one public key is all that it has been given."""
        policy = self.folder / "policy.toml"
        policy.write_text('schema = 1\n[trust]\nown_keys = false\nkeys = ["publisher.pub"]\n')
        stranger = change.make(self.folder / "others", epoch=1).pem
        for key, status in ((pub.read_bytes(), 0), (stranger, 1)):
            (self.folder / "publisher.pub").write_bytes(key)
            words = ("verify", REF, "--policy", policy, "--json")
            done = self._cli(*words, prefix=("unshare", "--net"), status=status)
            assert json.loads(done)["holds"] is (status == 0)

    def _cli(self, *words: str | Path, env: dict[str, str] | None = None, **how: Any) -> str:
        (self.folder / "home").mkdir(parents=True, exist_ok=True)
        bare = {
            "HOME": str(self.folder / "home"),
            "PATH": str(self.folder / "home"),
            "EDGE_BUILDKIT_KEYS": "",
            **(env or {}),
        }
        if "prefix" in how:
            how["prefix"] = (shutil.which(how["prefix"][0]), *how["prefix"][1:])
        words = (*words, "--store", self.store)
        return Project(self.folder, "none").cli(*words, env=bare, **how).stdout


def _answers_for_a_digit(store: Store, docker: Docker) -> None:
    """The image of this machine's platform, with a model and a question out of the same store."""
    index = store.read_json(store.resolve(REF).digest)
    (image,) = [
        each["digest"]
        for each in index["manifests"]
        if f"{each['platform']['os']}/{each['platform']['architecture']}" == NATIVE
    ]
    models = store.resolve(MODEL).digest
    weight = store.read_json(store.read_json(models)["manifests"][0]["digest"])["layers"][0]
    (hanging,) = store.referrers(models, artifact_type=media.GOLDEN)
    (golden,) = store.read_json(hanging.digest)["layers"]
    data = np.load(io.BytesIO(store.read(golden["digest"])))
    stream = io.BytesIO()
    archive(store, store.resolve(image), stream, "digits:pulled")
    identity = docker.load(stream.getvalue())
    question = json.dumps({"input": data["input"][3].tolist()}).encode()
    number = os.urandom(4).hex()
    volumes = {
        docker.volume(f"{name}-{number}", identity, {file: content}): f"/{name}"
        for name, file, content in (
            ("model", "model.onnx", store.read(weight["digest"])),
            ("question", "question.json", question),
        )
    }
    answer = docker.run(identity, ["infer", "/question/question.json"], volumes)
    assert json.loads(answer)["label"] == int(data["label"][3])


def test_tokens_end_while_a_push_goes_on(digits: Project, folder: Path, tmp_path: Path) -> None:
    """Each lives for a second or two, whatever the service says of it."""
    login = {"HOME": "/nonexistent", USER: NAME, PASSWORD: SECRET}
    with tokens(folder, 2) as (place, service):
        target = f"{place.address}/team/digits"
        access = {"plain_http": False, "ca": place.authority.ca}

        def dawdle(_: Event) -> None:
            time.sleep(0.07)

        for environ, said in (
            ({**login, PASSWORD: "wrong"}, "does not accept these credentials"),
            ({"HOME": "/nonexistent"}, "wants to know who asks"),
        ):
            stranger = way(environ=environ, **access)
            with pytest.raises(RegistryError, match=said):
                registries.push(REF, target, store=digits.store, access=stranger)
        assert not service.given
        us = way(environ=login, **access)
        began = time.monotonic()
        registries.push(REF, target, store=digits.store, access=us, watch=dawdle)
        pushing = len(service.given)
        other = Store.create(tmp_path / "other")
        registries.pull(f"{target}:1.0.0", store=other, access=us, watch=dawdle)
        pulling = len(service.given) - pushing
        seconds = time.monotonic() - began
    assert min(pushing, pulling) >= 2
    # No more than there were seconds: a token is used as long as it is good.
    assert pushing + pulling < seconds + 5
    assert {scope.rpartition(":")[0] for scopes in service.given for scope in scopes} == {
        "repository:team/digits"
    }
    assert everything(other, REF) == everything(digits.store, REF)
    # By the registry's own word: those that had ended were refused, and nothing came of it.
    refused = re.findall(r'/v2/team/digits/\S+ HTTP/1\.1" 401', (folder / "log").read_text())
    assert len(refused) >= pushing + pulling


def test_a_cut_line_to_the_newer_kind(digits: Project, folder: Path, tmp_path: Path) -> None:
    """It keeps nothing of a cut upload either, and wants ranges with an end."""
    chance = random.Random(SEED)  # noqa: S311 - where a line is cut is no secret
    points = [int(1000 * 20_000 ** chance.random()) for _ in range(20)]
    with listing(folder) as address:
        with closing(Line(address, points[:10])) as line:
            target = f"{line.address}/digits"
            done = registries.push(REF, target, store=digits.store, access=way())
        assert done.counted.listed_by == "api"
        with closing(Line(address, points[10:])) as line:
            other = Store.create(tmp_path / "other")
            registries.pull(f"{line.address}/digits:1.0.0", store=other, access=way())
    assert everything(other, REF) == everything(digits.store, REF), points
    assert other.check() == ()
