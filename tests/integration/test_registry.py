"""Push, pull and copy with a real registry that has no referrers API, over lines that are cut."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import sys
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from registry_line import PIECE, Line
from registry_parts import everything, serving, way

from buildkit import media
from buildkit.errors import RegistryError
from buildkit.pipeline import registries
from buildkit.registry.credentials import PASSWORD, USER
from buildkit.registry.crew import WIDTH
from buildkit.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from real_project import Project

pytestmark = pytest.mark.nix

CUTS = int(os.environ.get("EDGE_BUILDKIT_TEST_CUTS", "50"))
SEED = int(os.environ.get("EDGE_BUILDKIT_TEST_SEED", "6"))
_WORD = "s3cret-pass"
_BCRYPT = "$2y$05$abcdefghijklmnopqrstuuV7fpPozvyqJfnY19y0802WTlXUm6Rjy"
_COMPLETED = re.compile(
    r'"PUT /v2/(\S+)/blobs/uploads/\S+digest=sha256%3A([0-9a-f]{64})\S* HTTP/1\.1" 201'
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "registry").mkdir()
    return tmp_path / "registry"


def test_there_and_back(digits: Project, folder: Path, tmp_path: Path) -> None:
    """The real build, its evidence, and `verify` of both, through the command line."""
    with serving(folder) as address:
        words = ("--plain-http", "--json")
        target = f"{address}/team/digits"
        pushed = json.loads(digits.cli("push", "digits:1.0.0", target, *words).stdout)
        again = json.loads(digits.cli("push", "digits:1.0.0", target, *words).stdout)
        where = tmp_path / "else" / "store"
        pulled = json.loads(digits.cli("pull", f"{target}:1.0.0", "--store", where, *words).stdout)
        copied = json.loads(
            digits.cli("copy", f"{target}:1.0.0", f"{address}/prod/digits:stable", *words).stdout
        )
    other = Store.open(where)
    wanted = everything(digits.store, "digits:1.0.0")
    assert everything(other, "digits:1.0.0") == wanted
    assert pushed["digest"] == pulled["digest"] == digits.store.resolve("digits:1.0.0").digest
    assert (
        other.resolve("digits-model:1.0.0").digest
        == digits.store.resolve("digits-model:1.0.0").digest
    )
    assert other.check() == ()
    assert pushed["counted"]["listed_by"] == pulled["counted"]["listed_by"] == "tag"
    assert pushed["missing"] == pulled["missing"] == []
    assert pushed["counted"]["bytes_sent"] == pulled["counted"]["bytes_sent"] > 30_000_000
    assert (again["counted"]["bytes_sent"], again["counted"]["manifests_sent"]) == (0, 0)
    assert copied["counted"]["bytes_sent"] == 0
    assert copied["counted"]["blobs_mounted"] == copied["counted"]["blobs"]
    here = digits.cli("verify", "digits:1.0.0", "--json", status=None)
    there = digits.cli("verify", "digits:1.0.0", "--json", "--store", where, status=None)
    assert here.returncode == there.returncode == 0, there.stderr + here.stderr
    assert json.loads(there.stdout) == json.loads(here.stdout)


def test_a_new_model_sends_only_what_changed(digits: Project, folder: Path, tmp_path: Path) -> None:
    """Counted on the line and in the registry's folder, not only by what we say that we sent."""
    store = Store.create(tmp_path / "store")
    shutil.copytree(digits.store.root / "blobs", store.root / "blobs", dirs_exist_ok=True)
    shutil.copy(digits.store.root / "index.json", store.root / "index.json")
    image = store.read_json(store.resolve("digits:1.0.0").digest)
    weights = os.urandom(200_000)
    layer = store.put_bytes(weights, "application/vnd.cncf.model.weight.v1.raw")
    config = store.put_json({"version": "1.1.0"}, media.CONFIG)
    manifest = {
        "schemaVersion": 2,
        "mediaType": media.MANIFEST,
        "config": config.to_json(),
        "layers": [layer.to_json()],
    }
    part = store.put_json(manifest, media.MANIFEST)
    models = store.put_json(
        {"schemaVersion": 2, "mediaType": media.INDEX, "manifests": [part.to_json()]}, media.INDEX
    )
    store.tag(models, "digits-model:1.1.0")
    image["annotations"] = {
        **image.get("annotations", {}),
        "org.opencontainers.image.version": "1.1.0",
    }
    new = store.tag(store.put_json(image, media.INDEX), "digits:1.1.0")
    record = (json.dumps({"model_index": models.digest}).encode(), media.BUILD)
    store.attach(new, media.BUILD, [record])

    def kept() -> int:
        return sum(file.stat().st_size for file in (folder / "data").rglob("data"))

    with serving(folder) as address:
        registries.push("digits:1.0.0", f"{address}/digits", store=store, access=way())
        before = kept()
        with closing(Line(address, [])) as line:
            target = f"{line.address}/digits"
            done = registries.push("digits:1.1.0", target, store=store, access=way())
    sent = len(weights) + config.size + len(record[0])
    assert done.counted.bytes_sent == sent
    assert done.counted.blobs_sent == 3
    assert kept() - before < sent + 50_000
    # Of the artifact's 68 MB, with all that was asked and answered: by what came through the line.
    assert sent < line.up < sent + 100_000
    assert line.down < 100_000


def test_a_line_that_is_cut(digits: Project, folder: Path, tmp_path: Path) -> None:
    """At random points of a push and of a pull: they go on, and nothing goes twice."""
    sys.stderr.write(f"EDGE_BUILDKIT_TEST_SEED={SEED}\n")
    chance = random.Random(SEED)  # noqa: S311 - where a line is cut is no secret
    store = digits.store
    wanted = everything(store, "digits:1.0.0")
    whole = sum(store.size(each) or 0 for each in wanted)
    # Most soon after the one before, some late; all of them within one or two transfers.
    points = [int(1000 * (whole / 4000) ** chance.random()) for _ in range(CUTS)]
    with serving(folder) as address:
        rounds = 0
        with closing(Line(address, points[: CUTS // 2])) as line:
            while line.left or not rounds:
                rounds += 1
                target = f"{line.address}/round-{rounds}/digits"
                done = registries.push("digits:1.0.0", target, store=store, access=way())
            up, cut_pushing = line.up, line.made
        pulls = 0
        with closing(Line(address, points[CUTS // 2 :])) as line:
            while line.left or not pulls:
                pulls += 1
                other = Store.create(tmp_path / f"other-{pulls}")
                come: list[str] = []
                registries.pull(
                    f"{line.address}/round-1/digits:1.0.0",
                    store=other,
                    access=way(),
                    watch=lambda event, come=come: come.append(event.digest),  # type: ignore[misc]
                )
                assert len(come) == len(set(come)) == done.counted.blobs
                assert everything(other, "digits:1.0.0") == wanted
                assert other.check() == ()
            cut_pulling = line.made
        clean = Store.create(tmp_path / "clean")
        registries.pull(f"{address}/round-1/digits:1.0.0", store=clean, access=way())
    assert cut_pushing + cut_pulling == CUTS
    said = (folder / "log").read_text()
    # By the registry's own word: each blob ended well once in each repository.
    completed = _COMPLETED.findall(said)
    assert len(completed) == len(set(completed)) == rounds * done.counted.blobs
    # Downloads were taken up where they were.
    assert re.search(r'"GET /v2/\S+/blobs/\S+ HTTP/1\.1" 206', said)
    # A cut costs at most what had passed since the one before; what was whole is not sent again.
    # What each connection had in hand at a cut is counted too, the fewer the less the machine does.
    spared = rounds * (whole + 200_000) + sum(points[: CUTS // 2]) + CUTS // 2 * WIDTH * PIECE
    assert rounds * whole < up < spared
    assert everything(clean, "digits:1.0.0") == wanted
    assert clean.check() == ()


def test_several_at_once_lose_nothing(digits: Project, folder: Path, tmp_path: Path) -> None:
    """All attach to one image; the fallback tag lists what each of them brought."""
    stores = []
    for name in ("one", "two", "three", "four"):
        store = Store.create(tmp_path / name)
        shutil.copytree(digits.store.root / "blobs", store.root / "blobs", dirs_exist_ok=True)
        shutil.copy(digits.store.root / "index.json", store.root / "index.json")
        store.attach(
            store.resolve("digits:1.0.0"), f"application/x-{name}", [(name.encode(), "text/plain")]
        )
        stores.append(store)
    with serving(folder) as address:
        errors: list[BaseException] = []

        def push(store: Store) -> None:
            try:
                registries.push("digits:1.0.0", f"{address}/digits", store=store, access=way())
            except BaseException as error:  # noqa: BLE001 - looked at below
                errors.append(error)

        threads = [threading.Thread(target=push, args=(store,)) for store in stores]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        clean = Store.create(tmp_path / "clean")
        registries.pull(f"{address}/digits:1.0.0", store=clean, access=way())
    assert everything(clean, "digits:1.0.0") == set().union(
        *(everything(s, "digits:1.0.0") for s in stores)
    )


def test_tls_with_an_authority_of_ones_own_and_a_password(
    digits: Project, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, pem = tmp_path / "key.pem", tmp_path / "ca.pem"
    words = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=here")
    more = ("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(pem))
    subprocess.run(["openssl", *words, *more], check=True, capture_output=True)
    (tmp_path / "users").write_text(f"me:{_BCRYPT}\n")
    for name, value in (
        ("AUTH", "htpasswd"),
        ("AUTH_HTPASSWD_REALM", "here"),
        ("AUTH_HTPASSWD_PATH", tmp_path / "users"),
        ("HTTP_TLS_CERTIFICATE", pem),
        ("HTTP_TLS_KEY", key),
    ):
        monkeypatch.setenv(f"REGISTRY_{name}", str(value))
    login = {"HOME": "/nonexistent", USER: "me", PASSWORD: _WORD}
    model = "digits-model:1.0.0"
    with serving(folder) as address:
        target = f"{address}/team/model"

        def push(**how: Any) -> None:
            access = way(**{"plain_http": False, "environ": login, "ca": pem, **how})
            registries.push(model, target, store=digits.store, access=access)

        for how, said in (
            ({"ca": None}, "certificate does not hold"),
            ({"plain_http": True}, "HTTP request to an HTTPS server|answers 400"),
            ({"environ": {"HOME": "/nonexistent"}}, "wants to know who asks"),
            ({"environ": {**login, PASSWORD: "wrong"}}, "does not accept these credentials"),
        ):
            with pytest.raises(RegistryError, match=said):
                push(**how)
        push()
        trust = ("--ca", pem, "--store", tmp_path / "store")
        environ = {name: login[name] for name in (USER, PASSWORD)}
        digits.cli("pull", f"{target}:1.0.0", *trust, env={**environ, "HOME": "/nonexistent"})
    assert Store.open(tmp_path / "store").check() == ()
    assert _WORD not in (folder / "log").read_text()
