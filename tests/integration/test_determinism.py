"""The matrix of `docs/determinism.md`: one thing is varied, every byte stays.

`SANDBOX` varies what surrounds a derivation's builder, which is started outside Nix's sandbox,
where nothing protects it. `BUILDS` varies the machine that a whole build runs on.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from real_project import Project, make_project

from buildkit import canonical, digests
from buildkit.image.pack.debian import archives
from buildkit.lock import cache, codec, fetch
from buildkit.lock.types import DebianPin
from buildkit.nix import nar
from buildkit.nix.adapter import Nix
from buildkit.pipeline.nixstage import NixStage
from buildkit.pipeline.progress import Silent
from buildkit.recipe import load
from buildkit.run import run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from buildkit.engine import Engine

pytestmark = [pytest.mark.nix, pytest.mark.engine]

# By machine, libfaketime of the builder's Debian (that of a newer one asks for a newer libc than
# the builder has): architecture, bytes, hash.
FAKETIME = {
    "x86_64": ("amd64", 47288, "b09481e7690680966005330c3f907bba4b5eefc35e1faaea4783cc55655d1150"),
    "aarch64": ("arm64", 44952, "2e09e24e85c77bdc555a04b4a6dd4523092066135d08ef233396e8f984a3daf2"),
}
LATE = {"FAKETIME": "@2041-07-03 04:05:06"}
EARLY = {"FAKETIME": "@1994-02-28 23:59:58"}
# New Zealand's Chatham Islands: an offset that is no whole hour.
CHATHAM = {"TZ": "CHAST-12:45CHADT"}
NOBODY = 65534


# What a derivation runs, outside the sandbox.


@dataclass(frozen=True, kw_only=True)
class Around:
    """What surrounds a builder.

    Attributes:
        env: replaces variables of the derivation.
        prefix: first words of the command line.
        umask: of the process.
        reverse: hand over inputs in reverse order.
        memory: work and write on a tmpfs.
        user: run as this user.
        proof: program for the builder's Python that prints `True` where the variation took hold.
    """

    env: Mapping[str, str] = field(default_factory=dict)
    prefix: tuple[str, ...] = ()
    umask: int = 0o022
    reverse: bool = False
    memory: bool = False
    user: int = 0
    proof: str = "print(True)"

    def __or__(self, other: Around) -> Around:
        return Around(
            env={**self.env, **other.env},
            prefix=self.prefix + other.prefix,
            umask=self.umask | other.umask,
            reverse=self.reverse or other.reverse,
            memory=self.memory or other.memory,
            user=self.user or other.user,
        )


SANDBOX = {
    "clock-2041": Around(env=LATE, proof="import time; print(time.gmtime().tm_year == 2041)"),
    "clock-1994": Around(env=EARLY, proof="import time; print(time.gmtime().tm_year == 1994)"),
    "locale-turkish": Around(
        env={"LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8"},
        proof="import locale; locale.setlocale(locale.LC_ALL, '');"
        "print(locale.localeconv()['decimal_point'] == ',')",
    ),
    "locale-c": Around(env={"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}),
    "time-zone": Around(env=CHATHAM, proof="import time; print(time.tzname[0] == 'CHAST')"),
    "umask-077": Around(umask=0o077, proof="import os; print(os.umask(0) == 0o077)"),
    "umask-000": Around(umask=0, proof="import os; print(os.umask(0) == 0)"),
    "home": Around(
        env={"HOME": "/root", "USER": "someone", "LOGNAME": "someone"},
        proof="import os; print(os.path.expanduser('~') == '/root')",
    ),
    "host-name": Around(
        prefix=("unshare", "--uts", "sh", "-c", 'hostname hostile && exec "$@"', "sh"),
        proof="import os; print(os.uname().nodename == 'hostile')",
    ),
    "one-core": Around(
        prefix=("taskset", "-c", "0"),
        proof="import os; print(len(os.sched_getaffinity(0)) == 1)",
    ),
    "many-threads": Around(
        env=dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NIX_BUILD_CORES"), "7")
    ),
    "hash-seed": Around(
        env={"PYTHONHASHSEED": "4294967295"},
        proof="import sys; print(sys.flags.hash_randomization == 1)",
    ),
    "order-of-inputs": Around(reverse=True),
    "file-system-tmpfs": Around(memory=True),
    "another-user": Around(user=NOBODY, proof=f"import os; print(os.getuid() == {NOBODY})"),
    "dirty-memory": Around(env={"MALLOC_PERTURB_": "165"}),
    "address-layout": Around(prefix=("setarch", "-R")),
}
EVERYTHING = "everything-at-once"
# All stages of the model and one layer: short ones. The longer ones are in the row with
# everything at once.
SHORT = ("layer-debian-amd64", "model-float", "model-optimise", "model-calibrate",
         "model-quantise", "model-check")  # fmt: skip
LONG = ("layer-debian-arm64", "layer-python-amd64", "layer-python-arm64", "model-trained")


@dataclass(frozen=True, kw_only=True)
class Derivation:
    """How Nix builds something, and what came out.

    Attributes:
        builder: program.
        args: its arguments.
        env: its variables.
        output: store path.
    """

    builder: str
    args: tuple[str, ...]
    env: Mapping[str, str]
    output: str

    def at(self, out: str) -> Derivation:
        """The same with another place to write to (Nix manual, `placeholder`)."""
        mark = "/" + nar.base32(_sha256(b"nix-output:out"))

        def moved(text: str) -> str:
            return text.replace(mark, out).replace(self.output, out)

        return replace(
            self,
            args=tuple(map(moved, self.args)),
            env={name: moved(value) for name, value in self.env.items()},
        )

    def reversed(self) -> Derivation:
        """The same inputs, listed the other way round."""
        env = dict(self.env)
        for name in {"debs", "wheels"} & env.keys():
            env[name] = " ".join(reversed(env[name].split()))
        if "files" in env:
            env["files"] = json.dumps(dict(reversed(json.loads(env["files"]).items())))
        return replace(self, env=env)


def _sha256(data: bytes) -> bytes:
    return bytes.fromhex(digests.hex_of(digests.of_bytes(data)))


@pytest.fixture(scope="module")
def derivations(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Derivation]:
    """Every derivation of the digits recipe that runs code of ours, by name."""
    project = make_project(tmp_path_factory.mktemp("derivations") / "project", "digits")
    recipe = load(project.recipe)
    work = project.root / ".buildkit"
    stage = NixStage(recipe, codec.load(recipe.lock_file), work=work, runner=run, progress=Silent())
    stage.fetch()
    options = Nix(run, work / "nix-store").options()
    found = {}
    for attribute in ("build", "ranges"):
        stage.paths(attribute, digests.of_bytes(attribute.encode()))
        (link,) = (work / "nix").glob(f"digits-{attribute}-*")
        root = run(["nix-store", "--query", "--deriver", link, *options]).text.strip()
        for path, how in _shown(root, options).items():
            name = how["env"]["name"]
            if name.startswith(("layer-", "model-")):
                found[name] = Derivation(
                    builder=how["builder"],
                    args=tuple(how["args"]),
                    env=how["env"],
                    output=how["env"]["out"],
                )
                assert Path(found[name].output).is_dir(), path
    assert sorted(found) == sorted((*SHORT, *LONG))
    return found


def _shown(root: str, options: list[str]) -> dict[str, Any]:
    """All derivations that one needs; the command and its answer differ between versions."""
    for words in (("derivation", "show"), ("show-derivation",)):
        result = run(["nix", *words, "--recursive", root, *options], check=False)
        if result.code == 0:
            answer = canonical.load(result.stdout)
            shown: dict[str, Any] = answer.get("derivations", answer)
            return shown
    raise AssertionError(result.stderr)


@dataclass(frozen=True, kw_only=True)
class Places:
    """Folders that every user may enter.

    Attributes:
        disk: on the file system of temporary files.
        memory: on a tmpfs, whose entries come in another order.
        locales: for LOCPATH; has the Turkish locale.
        clock: the library that obeys ``FAKETIME``.
    """

    disk: Path
    memory: Path
    locales: Path
    clock: Path

    def variables(self, env: Mapping[str, str]) -> dict[str, str]:
        """What these variables need beside them."""
        preload = {"LD_PRELOAD": str(self.clock)} if "FAKETIME" in env else {}
        return {"LOCPATH": str(self.locales), **preload, **env}


@pytest.fixture(scope="module")
def places() -> Iterator[Places]:
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        home.chmod(0o755)
        found = Places(
            disk=home / "disk",
            memory=home / "memory",
            locales=home / "locales",
            clock=home / "libfaketime.so.1",
        )
        found.clock.write_bytes(_libfaketime())
        for folder in (found.disk, found.memory, found.locales):
            folder.mkdir(mode=0o755)
        run(["localedef", "-i", "tr_TR", "-f", "UTF-8", found.locales / "tr_TR.UTF-8"])
        run(["mount", "-t", "tmpfs", "-o", "size=2g,mode=0755", "tmpfs", found.memory])
        try:
            yield found
        finally:
            run(["umount", "--lazy", found.memory])


def _libfaketime() -> bytes:
    architecture, size, sha256 = FAKETIME[os.uname().machine]
    version = "0.9.10-2.1"
    pin = DebianPin(
        name="libfaketime",
        version=version,
        architecture=architecture,
        suite="bookworm",
        file=f"libfaketime_{version}_{architecture}.deb",
        sha256=sha256,
        size=size,
    )
    file = fetch.bring([pin], run, cache.home()).files[sha256]
    _, data = archives(file)
    for member in data:
        if Path(member.name).name == "libfaketime.so.1" and member.isreg():
            stream = data.extractfile(member)
            assert stream is not None
            return stream.read()
    raise AssertionError(pin.file)


def start(
    what: Derivation, around: Around, out: Path, places: Places
) -> subprocess.CompletedProcess[str]:
    """Run a builder with the variables of its derivation and nothing else."""
    temporary = out.with_name(out.name + ".tmp")
    temporary.mkdir()
    if around.user:
        os.chown(temporary, around.user, around.user)
        os.chown(out.parent, around.user, around.user)
    user: tuple[str, ...] = ()
    if around.user:
        number = str(around.user)
        user = ("setpriv", "--reuid", number, "--regid", number, "--clear-groups", "--")
    variables = {
        "PATH": "/path-not-set",
        "NIX_BUILD_TOP": str(temporary),
        "TMPDIR": str(temporary),
        **what.env,
        **places.variables(around.env),
    }
    # The tools of the prefix are the machine's own, and must not get what is preloaded.
    words = [*around.prefix, *user, "/usr/bin/env", "-i",
             *(f"{name}={value}" for name, value in variables.items()),
             what.builder, *what.args]  # fmt: skip
    return subprocess.run(
        words,
        cwd=temporary,
        umask=around.umask,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


@pytest.mark.parametrize("row", [*SANDBOX, EVERYTHING])
def test_a_builder_gives_the_same_bytes(
    row: str,
    derivations: dict[str, Derivation],
    places: Places,
) -> None:
    names: tuple[str, ...] = SHORT
    around = SANDBOX.get(row, Around())
    if row == EVERYTHING:
        names = (*LONG, *SHORT)
        for each in SANDBOX.values():
            around |= each
    home = (places.memory if around.memory else places.disk) / f"another place {row}"
    home.mkdir(mode=0o755)
    _prove(derivations[SHORT[0]], around, home, places)

    def same(name: str) -> str:
        what = derivations[name].at(str(home / name / "out"))
        (home / name).mkdir()
        what = what.reversed() if around.reverse else what
        done = start(what, around, home / name / "out", places)
        assert done.returncode == 0, f"{name}: {done.stderr}"
        got = nar.nar_sha256(home / name / "out")
        shutil.rmtree(home / name)
        return "" if got == nar.nar_sha256(Path(derivations[name].output)) else name

    with ThreadPoolExecutor(2) as pool:
        assert [name for name in pool.map(same, names) if name] == []


def _prove(what: Derivation, around: Around, home: Path, places: Places) -> None:
    """A variation that does not reach the builder proves nothing."""
    (home / "proof").mkdir()
    python = next(number for number, word in enumerate(what.args) if word == "-B")
    probe = replace(what, args=(*what.args[: python + 1], "-c", around.proof))
    done = start(probe, around, home / "proof/out", places)
    assert done.stdout == "True\n", done.stderr


# Whole builds, on machines that differ.


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What a build runs on.

    Attributes:
        env: variables of the command.
        prefix: first words of the command line.
        umask: of the checkout and of the command.
        folder: where the checkout stands, below the test's own folder.
        memory: everything stands on a tmpfs.
        change: what happens to the checkout before it is built.
    """

    env: Mapping[str, str] = field(default_factory=dict)
    prefix: tuple[str, ...] = ()
    umask: int = 0o022
    folder: str = "project"
    memory: bool = False
    change: Callable[[Project], None] = lambda _: None


def _times(project: Project) -> None:
    for number, file in enumerate(sorted(project.folder.rglob("*"))):
        os.utime(file, (number * 90_000_000, number * 90_000_000), follow_symlinks=False)


def _modes(project: Project) -> None:
    for file in project.folder.rglob("*"):
        if file.is_file():
            file.chmod(0o660 if file.suffix == ".py" else 0o600)


def _order(project: Project) -> None:
    """Make every file anew, in the opposite order, so that other names and numbers come first."""
    kept = project.root / "kept"
    project.folder.rename(kept)
    for source in sorted(kept.rglob("*"), reverse=True):
        target = project.folder / source.relative_to(kept)
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    shutil.rmtree(kept)


def _left_overs(project: Project) -> None:
    """What running the app leaves behind, where git does not look at it."""
    (project.root / ".git/info/exclude").write_text("__pycache__\n.DS_Store\n")
    cache = project.folder / "app/__pycache__"
    cache.mkdir()
    (cache / "main.cpython-311.pyc").write_bytes(os.urandom(100))
    (project.folder / "app/.DS_Store").write_bytes(os.urandom(100))


BUILDS = {
    "clock-2041": Machine(env=LATE),
    "clock-1994": Machine(env=EARLY),
    "locale-turkish": Machine(env={"LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8"}),
    "time-zone": Machine(env=CHATHAM),
    "umask-077": Machine(umask=0o077),
    "umask-000": Machine(umask=0),
    "home-and-user": Machine(env={"HOME": "@", "USER": "someone", "LOGNAME": "someone"}),
    "host-name": Machine(
        prefix=("unshare", "--uts", "sh", "-c", 'hostname hostile && exec "$@"', "sh")
    ),
    "no-network": Machine(prefix=("unshare", "--net")),
    "one-core": Machine(prefix=("taskset", "-c", "0")),
    "hash-seed": Machine(env={"PYTHONHASHSEED": "4294967295"}),
    "folder": Machine(folder="a folder, with spaces/and ünïcödé"),
    "file-system-tmpfs": Machine(memory=True),
    "file-times": Machine(change=_times),
    "file-modes": Machine(change=_modes),
    "order-of-creation": Machine(change=_order),
    "left-overs": Machine(change=_left_overs),
}


@pytest.mark.parametrize("row", BUILDS)
def test_a_build_gives_the_same_digests(
    row: str,
    digits: Project,
    engine: Engine,
    places: Places,
    tmp_path: Path,
) -> None:
    del engine
    machine = BUILDS[row]
    home = places.memory / f"build {row}" if machine.memory else tmp_path
    before = os.umask(machine.umask)
    try:
        (home / "tmp").mkdir(parents=True)
        (home / "home").mkdir()
        project = make_project(home / machine.folder, "digits")
        machine.change(project)
        env = {"TMPDIR": str(home / "tmp"), **places.variables(machine.env)}
        if "HOME" in env:
            # The engine's folder is named after the home of whoever started it.
            state = os.environ.get("XDG_STATE_HOME", str(Path.home() / ".local/state"))
            env |= {"HOME": str(home / "home"), "XDG_STATE_HOME": state}
        made = project.build(env=env, prefix=machine.prefix)
    finally:
        os.umask(before)
    assert made["cached"] is False
    wanted = digits.build()
    for key in ("image", "models", "lock", "recipe"):
        assert made[key] == wanted[key], key
    assert list((home / "tmp").iterdir()) == []


def test_a_builder_of_ones_own_gives_the_same_digests(
    digits: Project, engine: Engine, project: Project
) -> None:
    own = {
        "PATH": f"{engine.runtime / 'client'}:{os.environ['PATH']}",
        "DOCKER_HOST": f"unix://{engine.socket}",
        "DOCKER_CONFIG": str(engine.runtime / "client"),
    }
    made = project.build("--builder", "default", env=own)
    assert (made["image"], made["models"]) == (digits.build()["image"], digits.build()["models"])


def test_a_change_of_the_same_length_is_a_change(project: Project) -> None:
    """BuildKit compares the files of a context by length and time, and we give all one time."""
    app = project.folder / "app/main.py"
    text = app.read_text()
    for _ in range(4):
        line = f"# {time.time_ns():020d}"
        app.write_text(f"{text}{line}\n")
        for item in project.build()["image"]["platforms"]:
            layer = project.store.read_json(item["digest"])["layers"][-1]["digest"]
            with tarfile.open(fileobj=io.BytesIO(project.store.read(layer))) as archive:
                main = archive.extractfile("app/main.py")
                assert main is not None
                assert main.read().decode().splitlines()[-1] == line
