"""A whole offline ``verify`` of image, model and all evidence, beside cosign on the same bundles.

cosign gets the same statements one by one: each call checks one signature, and the digest of what
the statement is about, and nothing else. It runs from the tree of pinned tools, as a user would.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from paired import compare

from buildkit.evidence import bundle, keys, referrers, statement
from buildkit.nix import Nix
from buildkit.run import run
from buildkit.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
NO_ROOT = b'{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}'


class Scene:
    """One of our recipes, built and signed in a project of its own."""

    def __init__(self, home: Path, name: str) -> None:
        self.recipe = home / f"recipes/{name}/recipe.toml"
        shutil.copytree(ROOT / "recipes" / name, self.recipe.parent)
        self.home = home
        self.environment = {**os.environ, "EDGE_BUILDKIT_KEYS": str(home / "keys")}
        built = json.loads(self._ours("build", self.recipe, "--json", "--quiet"))
        self.ref = f"{name}:{built['recipe']['version']}"
        self.store = Store.open(Path(built["store"]))
        self.calls = list(self._calls(built["image"]["digest"], name))

    def _ours(self, *words: str | Path) -> bytes:
        command = [sys.executable, "-m", "buildkit", *map(str, words)]
        return subprocess.run(
            command, cwd=self.home, env=self.environment, capture_output=True, check=True
        ).stdout

    def verify(self) -> None:
        """Our command, from its start to its exit."""
        self._ours("verify", self.ref, "--store", self.store.root, "--json")

    def cosign(self) -> None:
        """The same bundles, one call each."""
        for call in self.calls:
            subprocess.run(
                call, cwd=self.home, env=self.environment, capture_output=True, check=True
            )

    def one(self) -> None:
        """A single one of these calls."""
        subprocess.run(
            self.calls[0], cwd=self.home, env=self.environment, capture_output=True, check=True
        )

    def _calls(self, image: str, name: str) -> Iterator[list[str]]:
        """One command line for every bundle of image, platforms and models."""
        work = self.store.root.parent
        nix = Nix(run, work / "nix-store")
        (link,) = (work / "nix").glob(f"{name}-hostTools-*")
        tools = json.loads(nix.physical(str(link.readlink())).read_bytes())
        start = [
            str(nix.physical(tools["loader"])),
            *("--library-path", str(nix.physical(tools["library_path"]))),
            str(nix.physical(tools["tools"]) / "usr/bin/cosign"),
        ]
        (ring,) = keys.KeyRing.load(self.home / "keys").keys
        (self.home / "key.pub").write_bytes(ring.pem)
        (self.home / "root.json").write_bytes(NO_ROOT)
        seen: set[str] = set()
        model = self.store.links(self.store.resolve(image)).annotations[
            "io.edge-buildkit.model.digest"
        ]
        for top in (image, model):
            for node in self.store.walk(self.store.resolve(top)):
                if node.links is None:
                    continue
                for found in referrers.find(self.store, node.descriptor.digest):
                    if isinstance(found, Exception) or found.digest in seen:
                        continue
                    seen.add(found.digest)
                    envelope = bundle.parse(found.bundle, found.digest).envelope
                    said = statement.parse(envelope.payload, found.digest)
                    yield [
                        *start,
                        *("verify-blob-attestation", "--key", str(self.home / "key.pub")),
                        *("--bundle", str(self.store.path(found.digest))),
                        *("--new-bundle-format", "--trusted-root", str(self.home / "root.json")),
                        *("--insecure-ignore-tlog", "--type", said.predicate_type),
                        str(self.store.path(node.descriptor.digest)),
                    ]


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipes", nargs="*", default=["digits", "vision"])
    for name in parser.parse_args().recipes:
        with tempfile.TemporaryDirectory() as home:
            scene = Scene(Path(home), name)
            count = len(scene.calls)
            compare(f"{name}, verify beside {count} calls of cosign", scene.verify, scene.cosign)
            compare(f"{name}, verify beside one call of cosign", scene.verify, scene.one)


if __name__ == "__main__":
    main()
