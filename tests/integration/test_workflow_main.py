"""The whole main workflow, step by step, on this machine: local registry, board and Sigstore.

Both rows of each matrix run here, so that only the form of "two machines" is tried. Nothing of
GitHub's is here either: workflow_player.py says what stands in for it.
"""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from real_project import ROOT, Project
from registry_parts import serving
from sigstore_parts import CI_SECRET, ISSUER, RefusedError, canonical
from sigstore_standin import Standin
from workflow_player import Player

from buildkit.lock.resolve.sources import machine_sources

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from trial_parts import Board

pytestmark = [pytest.mark.nix, pytest.mark.engine, pytest.mark.network]

MAIN = ".github/workflows/main.yml"
IDENTITY = f"https://github.example.test/shop/vision/{MAIN}@refs/heads/main"
POLICY = f"""\
schema = 1
[trust]
root = "trusted_root.json"
root_digest = "sha256:{{digest}}"
root_obtained = {{day}}
[[trust.identities]]
issuer = "{ISSUER}"
subject = "{IDENTITY}"
[smoke]
targets = ["pi5"]
devices = 1
standins = true
"""


class Forge(Standin):
    """Sigstore, and an issuer that says which workflow asks."""

    def answer(self, target: str, bearer: str, body: bytes) -> tuple[int, bytes]:
        url = urlsplit(target)
        if url.path != "/identity":
            return super().answer(target, bearer, body)
        if bearer != CI_SECRET:
            raise RefusedError(403, "this job may not ask for tokens")
        asked = parse_qs(url.query)
        (who,), (audience,) = asked["who"], asked["audience"]
        name = f"https://github.example.test/{who}"
        return 200, canonical({"value": self.issuer.token(name, audience=audience)})


@dataclass(frozen=True, kw_only=True)
class World:
    """A repository with our workflows and one recipe, and all that they reach."""

    origin: Path
    folder: Path
    registry: str
    sigstore: str

    def player(self, name: str, **how: Any) -> Player:
        """Somebody who plays; how, as for `Player`."""
        variables = {
            "REGISTRY": f"{self.registry}/{name}",
            "REGISTRY_PLAIN_HTTP": "true",
            "SIGSTORE_TRUST_CONFIG": "ci/trust_config.json",
            "POLICY": "ci/policy.toml",
            "SMOKE_PROFILE": "quick",
            **how.pop("variables", {}),
        }
        cache = os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))
        environ = {
            "XDG_CACHE_HOME": cache,
            "XDG_STATE_HOME": str(self.folder / name / "state"),
            "NO_PROXY": "127.0.0.1",
        }
        return Player(
            origin=self.origin,
            folder=self.folder / name,
            shared=self.folder / "tools",
            variables=variables,
            environ=environ,
            tokens=(f"{self.sigstore}/identity", CI_SECRET),
            **how,
        )

    def edit(self, path: str, old: str, new: str) -> None:
        """Commit a change."""
        file = self.origin / path
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))
        Project(self.origin, "digits").commit()


@pytest.fixture(scope="module")
def world(digits: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Our own checkout as it stands, with one recipe, as a repository of somebody else's."""
    # Its build has started the session's engine: the plays find it, and leave none of their own.
    assert digits.lock.is_file()
    folder = tmp_path_factory.mktemp("world")
    origin = folder / "origin"
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.rstrip("\0").split("\0"):
        unwanted = name.startswith(("tests/", "docs/", "benchmarks/", "recipes/vision/"))
        if not unwanted and (ROOT / name).is_file():
            (origin / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, origin / name)
    standin = Forge()
    with standin.serve() as sigstore, serving(folder) as registry:
        root = json.dumps(standin.trusted_root()).encode()
        policy = POLICY.format(digest=sha256(root).hexdigest(), day=datetime.now(UTC).date())
        # GitHub's runners are not Debian: what is fetched there is fetched by this file alone.
        (origin / ".github/debian.sources").write_text(machine_sources("bookworm", "amd64"))
        (origin / "ci").mkdir()
        (origin / "ci/trusted_root.json").write_bytes(root)
        (origin / "ci/policy.toml").write_text(policy)
        (origin / "ci/trust_config.json").write_text(json.dumps(standin.trust_config(sigstore)))
        subprocess.run(["git", "init", "-q", "-b", "main", origin], check=True)
        Project(origin, "digits").commit()
        yield World(origin=origin, folder=folder, registry=registry, sigstore=sigstore)


def results(player: Player) -> Mapping[str, str]:
    return {name: job.result for name, job in player.jobs.items()}


def everything(player: Player) -> str:
    return "\n".join(job.said for job in player.jobs.values())


def test_from_a_commit_to_canary(world: World, tmp_path: Path) -> None:
    """Without a device: on the emulated board that the workflow starts by itself."""
    player = world.player("first", secrets={"REGISTRY_PASSWORD": "hidden-word"})
    player.play(MAIN)
    assert set(results(player).values()) == {"success"}, everything(player)
    said = everything(player)
    assert "hidden-word" not in said
    built = json.loads(player.jobs["build"].outputs["built"])["include"]
    (image,) = (row["digest"] for row in built)
    rows = [name for name in player.jobs["build / compare"].summary.splitlines() if image in name]
    assert len(rows) == 2
    assert all("the same" in row for row in rows)

    # What anybody gets from the registry, in a store of their own, by the policy of the repository.
    auditor = Project(tmp_path / "auditor", "digits")
    auditor.root.mkdir()
    where = f"{world.registry}/first/digits"
    auditor.cli("pull", f"{where}:canary", "--plain-http", "--store", "store")
    shown = json.loads(auditor.cli("show", "digits:canary", "--store", "store", "--json").stdout)
    assert image in json.dumps(shown)
    ring = {"EDGE_BUILDKIT_KEYS": str(tmp_path / "ring")}
    device = player.artifacts / "tried-digits/device.pub"
    auditor.cli("keys", "import", "--device", device, env=ring)
    policy = world.origin / "ci/policy.toml"
    verify = ("verify", "digits:canary", "--store", "store", "--policy", policy, "--json")
    held = json.loads(auditor.cli(*verify, env=ring).stdout)
    assert (held["holds"], held["artifact"]) == (True, image)
    # Nobody's word counts but the workflow's, and the board's for what it saw.
    for row in held["checked"]["artifacts"]:
        for kind, signers in row["evidence"].items():
            assert f"{IDENTITY} ({ISSUER})" in signers, (kind, signers)
            assert len(signers) == (2 if kind == "test-result" else 1), (kind, signers)

    # And for people.
    tried = player.jobs["smoke"].summary
    assert "No device is configured" in tried
    assert "PASS" in tried
    assert "emulated" in tried
    page = (player.artifacts / "smoke-digits/smoke.html").read_text()
    assert page.count("<html") == 1
    assert image in player.jobs["promote"].summary


def test_what_two_machines_make_differently_is_not_pushed(world: World) -> None:
    """One of them has another file of the app: its clock, its disk or its owner played a trick."""

    def disturb(job: str, workspace: Path) -> None:
        if job == "build / build arm64":
            file = workspace / "recipes/digits/app/infer.py"
            file.write_text(file.read_text() + "# not committed\n")

    player = world.player("differ", disturb=disturb)
    player.play(MAIN)
    assert results(player) == {
        "build / plan": "success",
        "build / build": "success",
        "build / compare": "failure",
        "build": "failure",
        "publish": "skipped",
        "smoke": "skipped",
        "promote": "skipped",
    }
    compared = player.jobs["build / compare"]
    assert "**different**" in compared.summary
    assert "app file app/infer.py" in compared.summary
    assert (
        "::error title=Not reproducible::digits is another on arm64 than on amd64" in compared.said
    )
    assert not (world.folder / "data/docker/registry/v2/repositories/differ").exists()


def test_what_fails_on_a_device_is_not_promoted(world: World, board: Board, tmp_path: Path) -> None:
    """Over SSH, with the bench that a secret holds; the recipe now asks for what cannot be."""
    world.edit("recipes/digits/recipe.toml", "min_accuracy = 95", "min_accuracy = 100")
    origin = Project(world.origin, "digits")
    origin.cli("lock", origin.recipe)
    origin.commit()
    secret = bench(origin, board, tmp_path)
    player = world.player("fails", variables={"DEVICES": board.name}, secrets={"BENCH": secret})
    player.play(MAIN)
    assert player.jobs["publish"].result == "success", everything(player)
    smoke = player.jobs["smoke"]
    assert smoke.result == "failure"
    assert smoke.steps["Try it on the device"] == "failure", smoke.said
    assert smoke.steps["Page"] == "success"
    assert "FAIL" in smoke.summary
    assert "accuracy" in smoke.summary
    assert "No device is configured" not in smoke.summary
    assert player.jobs["promote"].result == "skipped"
    tags = world.folder / "data/docker/registry/v2/repositories/fails/digits/_manifests/tags"
    assert not [each.name for each in tags.iterdir() if "canary" in each.name]
    assert secret not in everything(player)


def bench(project: Project, board: Board, folder: Path) -> str:
    """What docs/ci.md says the secret is: devices, keys and the key of SSH, packed."""
    home = folder / "bench"
    home.mkdir()
    ring = {"EDGE_BUILDKIT_KEYS": str(home / "keys")}
    project.cli("keys", "make", env=ring)
    file = home / "devices.toml"
    words = ("device", "enroll", f"standin:{board.name}", "--name", board.name)
    project.cli(*words, "--devices", file, env=ring)
    lines = file.read_text().splitlines()
    (identity,) = (line for line in lines if line.startswith("identity"))
    shutil.copy(identity.split('"')[1], home / "ssh_key")
    file.write_text("\n".join(line for line in lines if line != identity) + "\n")
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name in ("devices.toml", "keys", "ssh_key"):
            archive.add(home / name, name)
    return base64.b64encode(stream.getvalue()).decode()
