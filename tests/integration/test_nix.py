"""The real Nix: as root, as a plain user with a store of one's own, through a daemon."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import tiny_project
from real_project import ROOT
from tiny_project import Answer, Tiny

from buildkit.errors import DigestError, FetchError, InputError
from buildkit.lock import cache, codec
from buildkit.nix import Nix, nar
from buildkit.pipeline.engines import Engines
from buildkit.pipeline.nixstage import NixStage, host_architecture
from buildkit.pipeline.progress import Silent
from buildkit.recipe import load
from buildkit.run import run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from buildkit.engine import Engine
    from buildkit.store import Store

pytestmark = [pytest.mark.nix, pytest.mark.engine, pytest.mark.network]

USER = 54321


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return tiny_project.locked(tmp_path_factory.mktemp)


@pytest.fixture
def tiny(made: Tiny, tmp_path: Path) -> Tiny:
    return tiny_project.copy(made, tmp_path)


def stage_of(project: Tiny) -> NixStage:
    return NixStage(
        load(project.recipe),
        codec.load(project.lock),
        work=project.root / ".buildkit",
        runner=run,
        progress=Silent(),
    )


# --- a plain user ---


@pytest.fixture
def own_home() -> Iterator[Path]:
    """A folder that belongs to a plain user and that everyone may enter, unlike pytest's."""
    folder = Path(tempfile.mkdtemp(prefix="edge-buildkit-user-"))
    folder.chmod(0o755)
    yield folder
    # Nix makes its store read-only; root may delete it all the same.
    shutil.rmtree(folder)


def plain_user(home: Path) -> tuple[str, ...]:
    """Words before a command, so that a plain user runs it.

    The user may read what root may, for the interpreter and the checkout of these tests can be in
    root's home, but may write nothing of it.
    """
    no_reading_needed = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")
    settings = {
        "HOME": str(home),
        "USER": "ada",
        "TMPDIR": str(home / "tmp"),
        "EDGE_BUILDKIT_INPUTS": str(cache.home() / "inputs"),
    }
    gone = [word for name in ("XDG_CACHE_HOME", "XDG_STATE_HOME") for word in ("-u", name)]
    return (
        *("setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", *no_reading_needed),
        *("env", *gone, *(f"{name}={value}" for name, value in settings.items())),
    )


@dataclass(frozen=True)
class User:
    """A plain user with a project.

    Attributes:
        project: belongs to the user.
        prefix: words before a command that make the user run it.
    """

    project: Tiny
    prefix: tuple[str, ...]

    def __call__(self, *words: str | Path, **environment: str) -> Answer:
        """Run ``python -m buildkit``."""
        done = subprocess.run(
            [*self.prefix, sys.executable, "-m", "buildkit", *map(str, words)],
            cwd=self.project.root,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        return Answer(status=done.returncode, stdout=done.stdout, stderr=done.stderr)


# $1 is where /nix stays to be seen for the docker client; the rest is the command.
HIDE_NIX = """
mount --make-rprivate /
mount --rbind /nix "$1"
mount -t tmpfs -o mode=755 none /nix
shift
exec "$@"
"""


# $1 is a socket for everyone to be made, $2 the one that it leads to.
FORWARD = """
import asyncio, os, sys

async def pump(source, target):
    while data := await source.read(1 << 16):
        target.write(data)
        await target.drain()
    if target.can_write_eof():
        target.write_eof()

async def serve(reader, writer):
    far = await asyncio.open_unix_connection(sys.argv[2])
    await asyncio.gather(pump(reader, far[1]), pump(far[0], writer), return_exceptions=True)
    far[1].close()
    writer.close()

async def main():
    server = await asyncio.start_unix_server(serve, sys.argv[1])
    os.chmod(sys.argv[1], 0o666)
    print("ready", flush=True)
    await server.serve_forever()

asyncio.run(main())
"""


@contextmanager
def forwarded(engine: Engine, place: Path) -> Iterator[None]:
    """A socket for everyone that leads to an engine's."""
    command = (sys.executable, "-c", FORWARD, str(place), str(engine.socket))
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"ready\n"
            yield
        finally:
            process.terminate()


def write_client(folder: Path, pinned: Path, stage: NixStage) -> None:
    """The pinned docker client, reached through another path than /nix."""
    paths = stage.paths("hostTools", "sha256:" + "0" * 64)
    loader, library, tools = (
        f"{pinned}{paths[name].removeprefix('/nix')}"
        for name in ("loader", "library_path", "tools")
    )
    (folder / "cli-plugins").mkdir(parents=True)
    for name, program in (
        ("docker", "usr/bin/docker"),
        ("cli-plugins/docker-buildx", "usr/libexec/docker/cli-plugins/docker-buildx"),
    ):
        script = folder / name
        command = f'{loader} --library-path {library} --argv0 "$0" {tools}/{program} "$@"'
        script.write_text(f"#!/bin/sh\nexec {command}\n")
        script.chmod(0o755)
    (folder / "config.json").write_text("{}")


def test_a_plain_user_builds_the_same_in_a_store_of_ones_own(made: Tiny, own_home: Path) -> None:
    wanted = made.cli("build", made.recipe, "--json").json
    pinned, client, place = own_home / "pinned", own_home / "client", own_home / "engine.sock"
    for folder in (pinned, own_home / "tmp"):
        folder.mkdir()
    write_client(client, pinned, stage_of(made))
    project = Tiny(root=own_home / "project", home=own_home)
    shutil.copytree(made.root, project.root, ignore=shutil.ignore_patterns(".buildkit"))
    run(["chown", "-R", f"{USER}:{USER}", own_home])
    hidden = ("unshare", "--mount", "sh", "-euc", HIDE_NIX, "sh", str(pinned))
    user = User(project, (*hidden, *plain_user(own_home)))

    fetched = user("fetch", project.recipe, "--json")
    assert fetched.json["fetched"] > 50
    assert user("fetch", project.recipe, "--json").json == {"fetched": 0}

    # The engine is for root alone: refused, with the way out, and nothing is published.
    refused = user("build", project.recipe, "--json")
    refused.refusal(2, "EngineError", "needs root", remedy="--builder NAME")
    assert not (project.root / ".buildkit/store").exists()

    with forwarded(Engines(run).start(stage_of(made), Silent()), place):
        built = user(
            *("build", project.recipe, "--json", "--builder", "default"),
            PATH=f"{client}:{os.environ['PATH']}",
            DOCKER_HOST=f"unix://{place}",
            DOCKER_CONFIG=str(client),
        )
    assert built.status == 0, built.stderr
    for part in ("image", "models", "lock"):
        assert built.json[part] == wanted[part]

    # Links name paths of the user's own store: /nix itself stays as empty as it was hidden.
    links = list((project.root / ".buildkit/nix").iterdir())
    assert links
    for link in links:
        inside = project.root / ".buildkit/nix-store"
        assert Path(f"{inside}{link.readlink()}").is_file()

    before = project.lock.read_bytes()
    assert user("lock", project.recipe).status == 0
    assert project.lock.read_bytes() == before


def test_an_input_that_nix_does_not_know_is_brought_again(made: Tiny, own_home: Path) -> None:
    project = Tiny(root=own_home / "project", home=own_home)
    shutil.copytree(made.root, project.root, ignore=shutil.ignore_patterns(".buildkit"))
    (own_home / "tmp").mkdir()
    pins = codec.load(project.lock).hosts[host_architecture()]
    pin = pins.builder_debian[0]
    stray = Path(
        f"{project.root}/.buildkit/nix-store{nar.store_path(pin.file, pin.sha256, 'flat')}"
    )
    # As a copy that was cut short leaves it: a file that Nix has not registered.
    stray.parent.mkdir(parents=True)
    stray.write_text("half of a pack")
    run(["chown", "-R", f"{USER}:{USER}", own_home])
    user = User(project, plain_user(own_home))
    words = ("lock", project.recipe, "--json")
    refused = user(*words)
    refused.refusal(2, "FetchError", pin.file, remedy="buildkit fetch")
    assert user("fetch", project.recipe, "--json").json == {"fetched": 1}
    assert user(*words).status == 0


# --- a daemon ---

# $1 is a log, the rest the command. /nix is empty, and seen here alone.
WITH_DAEMON = """
log=$1
shift
mount --make-rprivate /
mount -t tmpfs -o mode=755 none /nix
nix-daemon --option build-users-group "" 2> "$log" &
daemon=$!
trap 'kill $daemon' EXIT
tries=0
until [ -S /nix/var/nix/daemon-socket/socket ]; do
  tries=$((tries + 1))
  [ $tries -lt 600 ] || { cat "$log" >&2; exit 1; }
  sleep 0.1
done
"$@"
"""

EXPRESSION = """\
{ file }:
let arguments = builtins.fromJSON (builtins.readFile file);
    input = name: sha256: mode: derivation {
      inherit name; inherit (arguments) system;
      builder = "/missing-input-run-buildkit-fetch";
      outputHash = sha256; outputHashAlgo = "sha256"; outputHashMode = mode;
    };
    seed = input "seed" arguments.seed "recursive";
in { answer = derivation {
  name = "answer.json"; inherit (arguments) system;
  builder = "${seed}/bin/busybox";
  args = [ "sh" "-euc" ''
    printf '["%s", %s]' "$(cat $word)" "$(ls /sys | wc -l)" > $out
  '' ];
  PATH = "${seed}/bin";
  word = input "word" arguments.word "flat";
}; }
"""

# The whole adapter, once, in a process of its own.
PROGRAM = """
import json, sys
from pathlib import Path
from buildkit.nix import Nix, nar, seed
from buildkit.nix.adapter import system
from buildkit.run import run

home, deb = Path(sys.argv[1]), Path(sys.argv[2])
nix = Nix(run, home / "unused")
seed.unpack(deb, home / "seed")
hashed = nar.nar_sha256(home / "seed")
nix.add_folder(home / "seed", "seed", hashed)
(home / "file").write_text("through the daemon")
word = __import__("hashlib").sha256(b"through the daemon").hexdigest()
nix.add_flat({home / "file": "word"})
arguments = {"system": system(), "seed": hashed, "word": word}
answer = nix.build(home / "expression", arguments, "answer", home / "links/answer")
path = str((home / "links/answer").readlink())
assert nix.has(path) and nix.closure(path) == (path,)
print(json.dumps([nix.mode, *answer]))
"""


def test_a_daemon_serves_root_and_plain_users(made: Tiny, own_home: Path) -> None:
    lock = codec.load(made.lock)
    deb = cache.entry(cache.home(), lock.hosts[host_architecture()].seed.sha256)
    log = own_home / "log"
    answers = {}
    for name, prefix in (("root", ()), ("user", plain_user(own_home))):
        home = own_home / name
        (home / "expression").mkdir(parents=True)
        (home / "expression/default.nix").write_text(EXPRESSION)
        (own_home / "tmp").mkdir(exist_ok=True)
        run(["chown", "-R", f"{USER}:{USER}", own_home])
        namespace = ("unshare", "--mount", "sh", "-euc", WITH_DAEMON, "sh", str(log))
        command = (*namespace, *prefix, sys.executable, "-c", PROGRAM, str(home), str(deb))
        answers[name] = json.loads(run(command, cwd=ROOT, deadline=300).text)
    # The sandbox has no /sys.
    for answer in answers.values():
        assert answer == ["daemon", "through the daemon", 0]
    # The log is the last daemon's; it knows who asked.
    assert re.search(rf"accepted connection from pid \d+, user {USER}", log.read_text())


# --- messages ---


def test_a_missing_input_names_itself_and_what_to_run(made: Tiny, tmp_path: Path) -> None:
    stage = stage_of(made)
    arguments = stage._arguments(made.lock)
    arguments["lock"]["hosts"][host_architecture()]["tools_debian"][0]["sha256"] = "0" * 64
    name = arguments["lock"]["hosts"][host_architecture()]["tools_debian"][0]["file"]
    with pytest.raises(FetchError) as error:
        stage.nix.build(ROOT / "nix", arguments, "hostTools", tmp_path / "link")
    assert name in error.value.message
    assert "buildkit fetch" in error.value.remedy
    assert not (tmp_path / "link").exists()


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ('print("epoch 1: loss 0.5")\nraise ValueError("no such class")', "no such class"),
        ('print("epoch 1: loss 0.5")\nraise SystemExit(7)', "exit status 7"),
        ('print("epoch 1: loss 0.5")', "wrote no model.onnx"),
        ('print("epoch 1: loss 0.5", flush=True)\nimport os\nos.abort()', "failed due to signal"),
    ],
)
def test_a_training_script_that_fails_shows_the_end_of_its_output(
    tiny: Tiny, script: str, says: str
) -> None:
    tiny.use_training(script)
    tiny.edit('data = "calibration.npz"', 'data = "train:calibration.npz"')
    before = tiny.lock.read_bytes()
    answer = tiny.cli("lock", tiny.recipe, "--json")
    said = answer.refusal(2, "epoch 1: loss 0.5", says, remedy="")
    if "ValueError" in script:
        assert "Traceback (most recent call last)" in said["error"]
        assert "train.py" in said["error"]
    assert tiny.lock.read_bytes() == before


# --- another flake for the builder ---

FLAKE = """\
{
  outputs = { self }:
    let
      made = system: import ./nix { arguments = {
        inherit system;
        lock = builtins.fromJSON (builtins.readFile ./recipe.lock);
      }; };
      env = system: with made system; shell "env" { } ''
        mkdir -p $out/bin
        cat > $out/bin/python3 << END
        #!${seed}/bin/sh
        export PYTHONHOME=${interpreter.home} PYTHONPATH=\\$PYTHONPATH:${site}
        exec ${builtins.concatStringsSep " " interpreter.command} "\\$@"
        END
        chmod 755 $out/bin/python3
      '';
    in {
      packages.x86_64-linux.python = env "x86_64-linux";
      packages.aarch64-linux.python = env "aarch64-linux";
    };
}
"""


def write_flake(folder: Path, lock: Path) -> None:
    """A builder's environment that needs no network: our own Python and wheels, in a wrapper."""
    shutil.copytree(ROOT / "nix", folder / "nix")
    shutil.copy(lock, folder / "recipe.lock")
    (folder / "flake.nix").write_text(FLAKE)


def name_builder(project: Tiny, reference: str) -> None:
    project.edit("schema = 1\n", f'schema = 1\nbuilder = "{reference}"\n')


def test_a_recipe_names_another_flake_for_its_builder(made: Tiny, tiny: Tiny) -> None:
    ours = made.cli("build", made.recipe, "--json").json
    write_flake(tiny.root / "env", made.lock)
    name_builder(tiny, "path:./env#python")
    assert tiny.cli("lock", tiny.recipe).status == 0
    pinned = codec.load(tiny.lock).builder
    assert re.fullmatch(r"path:\./env\?narHash=sha256-[A-Za-z0-9+/=]{44}#python", pinned)
    answer = tiny.cli("build", tiny.recipe, "--json")
    assert answer.status == 0, answer.stderr
    # It is the same Python in another coat, so it makes the same bytes.
    file = [each["file_sha256"] for each in answer.json["models"]]
    assert file == [each["file_sha256"] for each in ours["models"]]
    assert _layers(tiny.store, answer.json) == _layers(made.store, ours)
    # And it is what ran: each derivation of ours depends on it.
    (link,) = (tiny.root / ".buildkit/nix").glob("tiny-build-*")
    paths = json.loads(link.read_bytes())
    for path in (paths["model"]["quantised"], paths["layers"]["linux/amd64"]["debian"]):
        deriver = run(["nix-store", "--query", "--deriver", path]).text.strip()
        assert "-env\n" in run(["nix-store", "--query", "--references", deriver]).text

    # Its files are pinned like all others.
    assert tiny.cli("lock", "--check", tiny.recipe).status == 0
    (tiny.root / "env/more").write_text("")
    checked = tiny.cli("lock", "--check", tiny.recipe)
    assert checked.status == 1
    assert "the files of the builder path:./env were changed" in checked.stdout
    refused = tiny.cli("build", tiny.recipe, "--json")
    refused.refusal(1, "DriftError", "path:./env", remedy="buildkit lock")


def _layers(store: Store, result: dict[str, Any]) -> list[str]:
    (platform,) = result["image"]["platforms"]
    return [layer["digest"] for layer in store.read_json(platform["digest"])["layers"]]


def test_a_builder_that_cannot_be_built_says_so(tiny: Tiny) -> None:
    name_builder(tiny, "path:./nowhere#python")
    answer = tiny.cli("lock", tiny.recipe, "--json")
    answer.refusal(2, "InputError", "path:./nowhere#python", remedy="recipe's folder")
    (tiny.root / "nowhere").mkdir()
    answer = tiny.cli("lock", tiny.recipe, "--json")
    answer.refusal(2, "ToolError", "path:./nowhere", "flake.nix", remedy="docs/nix.md")


def test_a_flake_is_found_from_the_recipes_folder(made: Tiny, tmp_path: Path) -> None:
    folder = tmp_path / "a recipe #1"
    write_flake(folder / "env", made.lock)
    nix = Nix(run, tmp_path / "unused")
    assert nix.build_flake("path:./env#python", folder).endswith("-env")
    (folder / "recipe").mkdir()
    assert nix.build_flake("path:../env#python", folder / "recipe").endswith("-env")
    with pytest.raises(InputError):
        nix.build_flake("path:./env#python", tmp_path)
    pinned = nix.pin_flake("path:./env#python", folder)
    assert nix.build_flake(pinned, folder).endswith("-env")
    (folder / "env/more").write_text("")
    with pytest.raises(DigestError, match=r"path:\./env"):
        nix.build_flake(pinned, folder)


def test_a_flake_elsewhere_is_pinned_by_its_commit(made: Tiny, tmp_path: Path) -> None:
    flake = tmp_path / "env"
    write_flake(flake, made.lock)
    git = ("git", "-C", str(flake), "-c", "user.name=a", "-c", "user.email=a@example.org")
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "one"]):
        run([*git, *words])
    commit = run([*git, "rev-parse", "HEAD"]).text.strip()
    nix = Nix(run, tmp_path / "unused")
    pinned = nix.pin_flake(f"git+file://{flake}#python", tmp_path)
    assert f"rev={commit}" in pinned
    assert pinned.endswith("#python")
    out = nix.build_flake(pinned, tmp_path)
    # What comes later does not matter.
    (flake / "flake.nix").write_text("broken")
    run([*git, "commit", "-q", "-a", "-m", "two"])
    assert nix.build_flake(pinned, tmp_path) == out
