"""``push`` and ``pull`` beside ``skopeo copy --all`` and ``oras cp -r``.

Every turn has a registry of its own on the loopback, new and empty, so that nobody finds blobs of
the turn before, in this registry or by a cache of other repositories. Whole commands are measured,
with their start. They take turns A B C, C B A, and every ratio is of one such turn. What a command
takes for each further byte, its throughput, is what a long artifact takes more than a short one.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from paired import seconds

from buildkit import media
from buildkit.nix import Nix
from buildkit.run import run
from buildkit.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
_TOOLS = ("ours", "skopeo", "oras")
_OURS = [sys.executable, "-m", "buildkit"]
_BLOB = 100_000_000


@dataclass(frozen=True)
class Artifact:
    """What travels.

    Attributes:
        name: of it in `store`; ours brings what its build's record names as well.
        others: names of what else the other tools have to be told to bring.
        store: that has them.
        oras: the first words of every call of oras.
        home: for what the commands leave behind.
    """

    name: str
    others: tuple[str, ...]
    store: Store
    oras: list[str]
    home: Path

    def pushers(self, host: str) -> dict[str, list[list[str]]]:
        """By tool, the commands that bring it to ``HOST/it``."""
        root = str(self.store.root)
        ours = [*_OURS, "push", self.name, f"{host}/it:0", "--plain-http", "--quiet"]
        return {
            "ours": [[*ours, "--store", root]],
            "skopeo": [
                ["skopeo", "copy", "--all", "--quiet", "--dest-tls-verify=false",
                 f"oci:{root}:{name}", f"docker://{host}/it:{at}"]
                for at, name in self._names()
            ],
            "oras": [
                [*self.oras, "cp", "-r", "--from-oci-layout", "--to-plain-http",
                 f"{root}@{self.store.resolve(name).digest}", f"{host}/it:{at}"]
                for at, name in self._names()
            ],
        }  # fmt: skip

    def pullers(self, host: str, folder: Path) -> dict[str, list[list[str]]]:
        """By tool, the commands that bring it from ``HOST/it`` to a new folder."""
        ours = [*_OURS, "pull", f"{host}/it:0", "--plain-http", "--quiet"]
        # The tags that our push has given.
        tags = ["0", "0-model"][: 1 + len(self.others)]
        return {
            "ours": [[*ours, "--store", str(folder)]],
            "skopeo": [
                ["skopeo", "copy", "--all", "--quiet", "--src-tls-verify=false",
                 f"docker://{host}/it:{tag}", f"oci:{folder}:{tag}"]
                for tag in tags
            ],
            "oras": [
                [*self.oras, "cp", "-r", "--from-plain-http", "--to-oci-layout",
                 f"{host}/it:{tag}", f"{folder}:{tag}"]
                for tag in tags
            ],
        }  # fmt: skip

    def _names(self) -> list[tuple[int, str]]:
        return list(enumerate((self.name, *self.others)))


def push(artifact: Artifact, runs: int) -> None:
    """Print how long each takes to an empty registry, and what it brought."""
    taken: dict[str, list[float]] = {tool: [] for tool in _TOOLS}
    brought: dict[str, list[int]] = {}
    for turn in _turns(runs):
        for tool in turn:
            time, brought[tool] = _pushed(artifact, tool)
            taken[tool].append(time)
    _print(f"{artifact.name}, push", taken, brought)


def throughput(short: Artifact, long: Artifact, runs: int) -> None:
    """Print the rate at which each pushes what `long` has more than `short`."""
    rates: dict[str, list[float]] = {tool: [] for tool in _TOOLS}
    for turn in _turns(runs):
        for tool in turn:
            (first, few), (second, many) = _pushed(short, tool), _pushed(long, tool)
            rates[tool].append((sum(many) - sum(few)) / (second - first) / 1e6)
    name = f"{long.name} after {short.name}, push"
    for tool, found in rates.items():
        print(f"{name}: {tool:6} {statistics.median(found[1:]):.0f} MB/s")
    _ratios(name, rates)


def pull(artifact: Artifact, runs: int) -> None:
    """Print how long each takes from one registry to a new folder, and what it brought."""
    folder = artifact.home / "pulled"
    taken: dict[str, list[float]] = {tool: [] for tool in _TOOLS}
    brought: dict[str, list[int]] = {}
    with _registry(artifact.home) as (address, _):
        _done(artifact.pushers(address)["ours"])
        for turn in _turns(runs):
            for tool in turn:
                calls = artifact.pullers(address, folder)[tool]
                taken[tool].append(seconds(partial(_done, calls)))
                files = [file for file in (folder / "blobs").rglob("*") if file.is_file()]
                brought[tool] = [file.stat().st_size for file in files]
                shutil.rmtree(folder)
    _print(f"{artifact.name}, pull", taken, brought)


def _turns(runs: int) -> Iterator[tuple[str, ...]]:
    for number in range(runs + 1):
        yield _TOOLS[:: -1 if number % 2 else 1]


def _pushed(artifact: Artifact, tool: str) -> tuple[float, list[int]]:
    """Seconds to an empty registry, and the sizes of what it has then."""
    with _registry(artifact.home) as (address, folder):
        time = seconds(partial(_done, artifact.pushers(address)[tool]))
        blobs = (folder / "data").glob("docker/registry/v2/blobs/sha256/*/*/data")
        return time, [file.stat().st_size for file in blobs]


def _print(name: str, taken: dict[str, list[float]], brought: dict[str, list[int]]) -> None:
    """The first turn goes uncounted."""
    for tool, times in taken.items():
        sizes = brought[tool]
        amount = f"{sum(sizes) / 1e6:.1f} MB in {len(sizes)} blobs and manifests"
        print(f"{name}: {tool:6} {statistics.median(times[1:]):.3f} s, {amount}")
    _ratios(name, taken)


def _ratios(name: str, figures: dict[str, list[float]]) -> None:
    for tool in list(figures)[1:]:
        both = zip(figures["ours"][1:], figures[tool][1:], strict=True)
        ratios = [ours / theirs for ours, theirs in both]
        print(
            f"{name}: ours/{tool} {statistics.median(ratios):.2f} "
            f"({min(ratios):.2f} to {max(ratios):.2f}), {len(ratios)} turns"
        )


@contextmanager
def _registry(home: Path) -> Iterator[tuple[str, Path]]:
    from registry_parts import serving  # noqa: PLC0415 - main puts it on the path

    folder = Path(tempfile.mkdtemp(dir=home))
    with serving(folder) as address:
        yield address, folder
    shutil.rmtree(folder)


def _done(calls: list[list[str]]) -> None:
    for words in calls:
        subprocess.run(words, capture_output=True, check=True)


def _oras(work: Path) -> list[str]:
    nix = Nix(run, work / "nix-store")
    (link,) = (work / "nix").glob("digits-hostTools-*")
    tools = json.loads(nix.physical(str(link.readlink())).read_bytes())
    path = str(nix.physical(tools["library_path"]))
    program = str(nix.physical(tools["tools"]) / "usr/bin/oras")
    return [str(nix.physical(tools["loader"])), "--library-path", path, program]


def _digits(home: Path) -> Artifact:
    recipe = home / "recipes/digits/recipe.toml"
    shutil.copytree(ROOT / "recipes/digits", recipe.parent)
    words = [*_OURS, "build", str(recipe), "--json", "--quiet"]
    done = subprocess.run(words, cwd=home, capture_output=True, check=True)
    store = Store.open(Path(json.loads(done.stdout)["store"]))
    others = ("digits-model:1.0.0",)
    return Artifact("digits:1.0.0", others, store, _oras(store.root.parent), home)


def _bare(full: Artifact) -> Artifact:
    """Its image alone, without anything that hangs on it."""
    store = Store.create(full.home / "bare")
    top = full.store.resolve(full.name)
    for node in full.store.walk(top):
        store.put_file(full.store.path(node.descriptor.digest), media.LAYER)
    store.tag(top, "bare:1")
    return Artifact("bare:1", (), store, full.oras, full.home)


def _large(home: Path, oras: list[str], blobs: int) -> Artifact:
    """An image of one platform with a few long layers of noise, on which nothing hangs."""
    store = Store.create(home / "large")
    layers = [store.put_bytes(os.urandom(_BLOB), media.LAYER).to_json() for _ in range(blobs)]
    config = {
        "architecture": "arm64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [each["digest"] for each in layers]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": media.MANIFEST,
        "config": store.put_json(config, media.CONFIG).to_json(),
        "layers": layers,
    }
    part = store.put_json(manifest, media.MANIFEST, platform="linux/arm64").to_json()
    index = {"schemaVersion": 2, "mediaType": media.INDEX, "manifests": [part]}
    store.tag(store.put_json(index, media.INDEX), "large:1")
    return Artifact("large:1", (), store, oras, home)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7, help="turns that count")
    parser.add_argument("--blobs", type=int, default=4, help="of 100 MB, of the large artifact")
    options = parser.parse_args()
    sys.path.append(str(ROOT / "tests/integration"))
    runs = options.runs
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        os.environ["EDGE_BUILDKIT_KEYS"] = str(home / "keys")
        # What Python compiles is kept, as on any user's machine.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        digits = _digits(home)
        bare, large = _bare(digits), _large(home, digits.oras, options.blobs)
        throughput(bare, large, runs)
        for artifact in (digits, bare, large):
            push(artifact, runs)
            pull(artifact, runs)


if __name__ == "__main__":
    main()
