"""More machines than one: a binary cache, a builder over SSH, BuildKit nodes; the same digests."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from real_project import ROOT, Project
from registry_parts import held_port

from buildkit import digests
from buildkit.engine import Engine, EngineSpec
from buildkit.lock import codec
from buildkit.nix import Nix
from buildkit.nix.adapter import system
from buildkit.pipeline.nixstage import NixStage
from buildkit.pipeline.progress import Silent
from buildkit.recipe import load
from buildkit.run import run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

pytestmark = [pytest.mark.nix, pytest.mark.engine]

SSHD = shutil.which("sshd", path=os.pathsep.join([os.environ["PATH"], "/usr/sbin"]))
ANY_KEY = "sha256:" + "0" * 64
# For a look at this machine's own store.
LOCAL = tuple(Nix(run, Path("unused")).options())


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder for sockets, whose paths have at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="eb-") as folder:
        yield Path(folder)


@dataclass(frozen=True)
class Machine:
    """One whose Nix store is empty at first: what runs there sees another ``/nix``."""

    nix: Path

    @property
    def prefix(self) -> tuple[str, ...]:
        """Words before a command, so that it runs there."""
        inside = 'mount --make-rprivate /; mount --bind "$1" /nix; shift; exec "$@"'
        return ("unshare", "--mount", "sh", "-euc", inside, "sh", str(self.nix))

    def python(self, program: str, *words: str | Path, **environment: str) -> Any:
        """Run a program there; the JSON that it prints."""
        command = [*self.prefix, sys.executable, "-c", program, *words]
        return json.loads(run(command, env={"PYTHONPATH": str(ROOT), **environment}).stdout)

    def known(self, *paths: str | Path) -> dict[str, dict[str, Any]]:
        """Store path → what Nix there knows of it, for all that these paths need."""
        words = ("nix", "path-info", "--json", "--recursive", *paths)
        return _known([*self.prefix, *words, *LOCAL])


def _known(command: list[str | Path]) -> dict[str, dict[str, Any]]:
    found = json.loads(run(command).stdout)
    # A list until Nix 2.19.
    return found if isinstance(found, dict) else {each["path"]: each for each in found}


@pytest.fixture
def machine() -> Iterator[Machine]:
    # Not pytest's own, which keeps what it makes for three runs.
    folder = Path(tempfile.mkdtemp(prefix="edge-buildkit-machine-"))
    yield Machine(folder)
    shutil.rmtree(folder)


# --- a binary cache of Nix, as a folder ---


@dataclass(frozen=True)
class Cache:
    folder: Path
    public: str

    @property
    def settings(self) -> str:
        """As a user's ``nix.conf`` has it."""
        return f"substituters = file://{self.folder}\ntrusted-public-keys = {self.public}\n"


def make_cache(folder: Path, key: str, *paths: Path) -> Cache:
    """A new cache with all that these paths need, signed."""
    folder.mkdir()
    secret, public = folder / "cache.key", folder / "cache.pub"
    run(["nix-store", "--generate-binary-cache-key", key, secret, public])
    place = f"file://{folder}?compression=zstd&parallel-compression=true&secret-key={secret}"
    run(["nix", "copy", "--to", place, *paths, *LOCAL])
    return Cache(folder, public.read_text().strip())


@pytest.fixture(scope="module")
def caches() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="edge-buildkit-cache-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def model_cache(digits: Project, caches: Path) -> Cache:
    """A small one: only the model."""
    work = caches / "work"
    stage = NixStage(
        load(digits.recipe), codec.load(digits.lock), work=work, runner=run, progress=Silent()
    )
    stage.paths("quantised", ANY_KEY)
    return make_cache(caches / "model", "model-1", *(work / "nix").iterdir())


# What Nix makes of a recipe, without the inputs to make it from.
PATHS = """
import json, sys
from pathlib import Path
from buildkit.errors import BuildkitError
from buildkit.lock import codec
from buildkit.pipeline.nixstage import NixStage
from buildkit.pipeline.progress import Silent
from buildkit.recipe import load
from buildkit.run import run

recipe = load(Path(sys.argv[1]))
stage = NixStage(recipe, codec.load(recipe.lock_file), work=Path(sys.argv[2]), runner=run,
                 progress=Silent(), apart=sys.argv[4:] == ["apart"])
try:
    print(json.dumps(stage.paths(sys.argv[3], "sha256:" + "0" * 64)))
except BuildkitError as error:
    print(json.dumps({"kind": type(error).__name__, "message": error.message}))
"""


def test_an_empty_machine_takes_everything_from_a_signed_cache(
    digits: Project, caches: Path, machine: Machine, tmp_path: Path
) -> None:
    (link,) = (digits.root / ".buildkit/nix").glob("digits-build-*")
    cache = make_cache(caches / "whole", "whole-1", link)
    work = tmp_path / "work"
    made = machine.python(PATHS, digits.recipe, work, "build", NIX_CONFIG=cache.settings)
    assert made == json.loads(link.read_bytes())
    known = machine.known(*(work / "nix").iterdir())
    assert len(known) > 15
    # "Ultimate" is what was built there.
    assert [path for path, each in known.items() if each.get("ultimate")] == []
    for path, each in _known(["nix", "path-info", "--json", *known, *LOCAL]).items():
        assert known[path]["narHash"] == each["narHash"]
        assert [name.split(":")[0] for name in known[path]["signatures"]] == ["whole-1"]


def change(cache: Cache, folder: Path, *, signed: bool = True, damaged: bool = False) -> Cache:
    """A copy of a cache, with something wrong in it."""
    shutil.copytree(cache.folder, folder)
    for about in folder.glob("*.narinfo"):
        lines = about.read_text().splitlines(keepends=True)
        about.write_text("".join(line for line in lines if signed or not line.startswith("Sig:")))
    for archive in (folder / "nar").iterdir() if damaged else ():
        data = bytearray(archive.read_bytes())
        data[len(data) // 2] ^= 1
        archive.write_bytes(data)
    return Cache(folder, cache.public)


@pytest.mark.parametrize(
    ("case", "kind"),
    [
        ("as it should be", ""),
        ("without signatures", "FetchError"),
        ("without signatures, and the user wants none", "FetchError"),
        ("signed by somebody else", "FetchError"),
        ("damaged", "ToolError"),
        ("for a rebuild", "FetchError"),
    ],
)
def test_a_cache_counts_only_with_a_signature_that_the_user_trusts(
    *, digits: Project, model_cache: Cache, machine: Machine, tmp_path: Path, case: str, kind: str
) -> None:
    cache = change(
        model_cache,
        tmp_path / "cache",
        signed=not case.startswith("without"),
        damaged=case == "damaged",
    )
    settings = cache.settings
    if "somebody else" in case:
        run(["nix-store", "--generate-binary-cache-key", "other", tmp_path / "k", tmp_path / "p"])
        settings = Cache(cache.folder, (tmp_path / "p").read_text()).settings
    if "wants none" in case:
        settings += "require-sigs = false\n"
    words = (digits.recipe, tmp_path / "work", "quantised")
    apart = ("apart",) if "rebuild" in case else ()
    answer = machine.python(PATHS, *words, *apart, NIX_CONFIG=settings)
    assert answer.get("kind", "") == kind, answer
    if not kind:
        model = machine.nix / Path(answer["quantised"]).relative_to("/nix") / "model.onnx"
        found = digests.hex_of(digests.of_file(model))
        assert found == codec.load(digits.lock).model.quantized_sha256
    elif kind == "FetchError":
        # So it wanted to build, and has no inputs.
        assert "inputs of the lock are not in the Nix store" in answer["message"]


# --- another machine, over SSH ---


@contextmanager
def reached(folder: Path) -> Iterator[Path]:
    """This machine by SSH, as ``far``; the client's configuration.

    Its Nix has settings of its own, as every machine has.
    """
    assert SSHD is not None, "as root: apt-get install --no-install-recommends openssh-server"
    for name in ("host", "user"):
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", folder / name])
    shutil.copy(folder / "user.pub", folder / "authorized")
    with held_port() as port:
        yield from _reached(folder, port)


def _reached(folder: Path, port: int) -> Iterator[Path]:
    Path("/run/sshd").mkdir(exist_ok=True)
    (folder / "nix.conf").write_text(
        "build-users-group =\nsandbox = true\nsandbox-fallback = false\nsandbox-paths =\n"
        "substitute = false\n"
    )
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {folder}/host\nPidFile none\nUsePAM no\n"
        f"AuthorizedKeysFile {folder}/authorized\nStrictModes no\nPasswordAuthentication no\n"
        f"KbdInteractiveAuthentication no\nSetEnv NIX_CONF_DIR={folder}\n"
    )
    (folder / "known").write_text(f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}")
    config = folder / "ssh_config"
    config.write_text(
        f"Host far\n  HostName 127.0.0.1\n  Port {port}\n  User root\n  IdentitiesOnly yes\n"
        f"  IdentityFile {folder}/user\n  UserKnownHostsFile {folder}/known\n"
        "  StrictHostKeyChecking yes\n"
    )
    assert SSHD is not None
    with subprocess.Popen(
        [SSHD, "-D", "-e", "-f", folder / "sshd_config"], stderr=subprocess.DEVNULL
    ) as server:
        try:
            _await(lambda: run(["ssh", "-F", config, "far", "true"], check=False).code == 0)
            yield config
        finally:
            server.terminate()


def _await(ready: Any) -> None:
    end = time.monotonic() + 60
    while not ready():
        assert time.monotonic() < end
        time.sleep(0.02)


EXPRESSION = """\
{ file }:
let made = import @ { inherit file; };
in { module = made.shell "module.json" { } "echo '\\"${made.pack}\\"' > $out"; }
"""
MODULE = """
import json, sys
from pathlib import Path
from buildkit.lock import codec
from buildkit.pipeline import inputs
from buildkit.pipeline.nixstage import NixStage, host_architecture
from buildkit.pipeline.progress import Silent
from buildkit.recipe import load
from buildkit.run import run

recipe, work = load(Path(sys.argv[1])), Path(sys.argv[2])
lock = codec.load(recipe.lock_file)
stage = NixStage(recipe, lock, work=work, runner=run, progress=Silent())
pins = lock.hosts[host_architecture()]
seed = (pins.seed, pins.seed_nar_sha256)
inputs.bring_pins((), seed, nix=stage.nix, runner=run, progress=Silent())
arguments = stage._arguments(recipe.lock_file)
print(json.dumps(stage.nix.build(Path(sys.argv[3]), arguments, "module", work / "nix/module")))
"""


def test_a_machine_over_ssh_builds(
    digits: Project, machine: Machine, short: Path, tmp_path: Path
) -> None:
    (tmp_path / "default.nix").write_text(EXPRESSION.replace("@", str(ROOT / "nix")))
    far = short / "store"
    with reached(short) as config:
        path = machine.python(
            *(MODULE, digits.recipe, tmp_path / "work", tmp_path),
            NIX_CONFIG=f"builders = ssh://far?remote-store={far} {system()} - 2 1\n",
            NIX_SSHOPTS=f"-F {config}",
        )
    here = machine.known(path)[path]
    query: list[str | Path] = ["nix", "path-info", "--json", path]
    there = _known([*query, "--store", far, *LOCAL])[path]
    # "Ultimate" is what was built there.
    assert (here.get("ultimate"), there.get("ultimate")) in {(None, True), (False, True)}
    assert here["narHash"] == _known([*query, *LOCAL])[path]["narHash"]


# --- BuildKit on more than one node ---

# A server on the socket $1 that speaks what buildkitd does: the BuildKit inside the dockerd of the
# socket $2, which is asked for it by an HTTP upgrade.
BRIDGE = """
import asyncio, sys

HELLO = b"POST /grpc HTTP/1.1\\r\\nHost: x\\r\\nConnection: Upgrade\\r\\nUpgrade: h2c\\r\\n\\r\\n"

async def pump(source, target):
    while data := await source.read(1 << 16):
        target.write(data)
        await target.drain()
    if target.can_write_eof():
        target.write_eof()

async def serve(reader, writer):
    far = await asyncio.open_unix_connection(sys.argv[2])
    far[1].write(HELLO)
    await far[0].readuntil(b"\\r\\n\\r\\n")
    await asyncio.gather(pump(reader, far[1]), pump(far[0], writer), return_exceptions=True)
    far[1].close()
    writer.close()

async def main():
    server = await asyncio.start_unix_server(serve, sys.argv[1])
    print("ready", flush=True)
    await server.serve_forever()

asyncio.run(main())
"""


@contextmanager
def as_buildkitd(engine: Engine, place: Path) -> Iterator[str]:
    """The engine's BuildKit on a socket of its own; its address."""
    command = (sys.executable, "-c", BRIDGE, place, engine.socket)
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"ready\n"
            yield f"unix://{place}"
        finally:
            process.terminate()


@pytest.fixture
def second(
    digits: Project, engine: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Engine]:
    """One more engine of the same pins, with a cache of its own."""
    del engine
    (link,) = (digits.root / ".buildkit/nix").glob("digits-hostTools-*")
    paths = json.loads(link.read_bytes())
    spec = EngineSpec(
        tree=Path(paths["engine"]),
        tools=Path(paths["tools"]),
        tools_library=Path(paths["library_path"]),
        tools_loader=Path(paths["loader"]),
        emulator=paths["foreign"],
        foreign="arm64" if os.uname().machine == "x86_64" else "amd64",
    )
    with monkeypatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
        found = Engine(secrets.token_hex(6), run)
    found.start(spec)
    yield found
    found.forget()


def client(engine: Engine, folder: Path) -> Mapping[str, str]:
    """Variables of a user whose docker client is the pinned one, without an engine."""
    shutil.copytree(engine.runtime / "client", folder, ignore=shutil.ignore_patterns("buildx"))
    return {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "DOCKER_CONFIG": str(folder),
        "DOCKER_HOST": "",
    }


def cached(engine: Engine) -> int:
    """How much an engine has built."""
    import docker

    api = docker.APIClient(f"unix://{engine.socket}")
    try:
        return len(api.df()["BuildCache"])
    finally:
        api.close()


def test_a_node_for_each_platform_gives_the_same_digests(
    digits: Project, project: Project, engine: Engine, second: Engine, short: Path
) -> None:
    environment = client(engine, short / "client")
    assert cached(second) == 0
    with (
        as_buildkitd(engine, short / "one") as one,
        as_buildkitd(second, short / "two") as two,
    ):
        create = ("docker", "buildx", "create", "--name", "nodes", "--driver", "remote")
        run([*create, "--platform", "linux/amd64", one], env=environment)
        run([*create, "--append", "--platform", "linux/arm64", two], env=environment)
        built = project.build("--builder", "nodes", env=environment)
    assert cached(second) > 0
    assert not built["cached"]
    assert built["image"] == digits.build()["image"]
    said = project.cli("evidence", built["image"]["digest"], "--kind", "provenance").stdout
    assert "urn:edge-buildkit:builder:named:nodes" in said


def test_an_engine_on_another_machine_is_reached_through_ssh(
    digits: Project, project: Project, engine: Engine, short: Path
) -> None:
    environment = client(engine, short / "client")
    place = short / "far.sock"
    create = ("docker", "context", "create", "far", "--docker", f"host=unix://{place}")
    run(create, env=environment)
    with reached(short) as config:
        forward = ("ssh", "-F", config, "-N", "-L", f"{place}:{engine.socket}", "far")
        with subprocess.Popen(forward) as line:
            try:
                _await(place.exists)
                built = project.build(
                    "--builder", "far", env={**environment, "DOCKER_CONTEXT": "far"}
                )
            finally:
                line.terminate()
    assert not built["cached"]
    assert built["image"] == digits.build()["image"]
