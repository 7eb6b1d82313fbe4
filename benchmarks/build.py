"""A build with nothing to do, and one after a changed line, beside plain ``docker buildx``.

Plain buildx builds the same app on the same base: once as it comes, which is not reproducible,
and once with ``rewrite-timestamp``, which is. Both use the pinned engine.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from paired import compare

ROOT = Path(__file__).parents[1]
PLATFORMS = "linux/amd64,linux/arm64"
EPOCH = "1767225600"


class Scene:
    """The digits recipe in a project of its own, and what plain buildx needs to do the same."""

    def __init__(self, home: Path) -> None:
        self.recipe = home / "recipes/digits/recipe.toml"
        shutil.copytree(ROOT / "recipes/digits", self.recipe.parent)
        self.app = self.recipe.parent / "app"
        self.home = home
        self.count = itertools.count()
        self.build()
        status = self._json("engine", "start", self.recipe, "--json")["engines"][0]
        client = Path(status["socket"]).parents[1] / "client"
        self.docker = [str(client / "docker")]
        self.environment = {
            **os.environ,
            "DOCKER_HOST": f"unix://{status['socket']}",
            "DOCKER_CONFIG": str(client),
        }
        self.plain = home / "plain.Dockerfile"
        text = (self.app / "Dockerfile").read_text()
        self.plain.write_text(text.replace("FROM scratch", "FROM base"))
        self.base = self._base()

    def _json(self, *words: object) -> Any:
        command = [sys.executable, "-m", "buildkit", *map(str, words)]
        done = subprocess.run(command, cwd=self.home, capture_output=True, check=True)
        return json.loads(done.stdout)

    def build(self) -> Any:
        """Our build."""
        return self._json("build", self.recipe, "--json", "--quiet")

    def change(self) -> None:
        """Change one line of the app."""
        with (self.app / "main.py").open("a") as stream:
            stream.write(f"# {next(self.count)}\n")

    def _base(self) -> str:
        """The two heavy layers of each platform as an image layout that buildx can start from."""
        result = self.build()
        store = Path(result["store"])
        layout = self.home / "base"
        shutil.copytree(store, layout)

        def blob(digest: str) -> Path:
            return layout / "blobs/sha256" / digest.removeprefix("sha256:")

        from buildkit import digests  # noqa: PLC0415 - only this needs it

        def put(document: Any, like: dict[str, Any]) -> dict[str, Any]:
            data = json.dumps(document).encode()
            digest = digests.of_bytes(data)
            blob(digest).write_bytes(data)
            return {**like, "digest": digest, "size": len(data)}

        index = json.loads(blob(result["image"]["digest"]).read_bytes())
        for number, entry in enumerate(index["manifests"]):
            manifest = json.loads(blob(entry["digest"]).read_bytes())
            config = json.loads(blob(manifest["config"]["digest"]).read_bytes())
            config["rootfs"]["diff_ids"] = config["rootfs"]["diff_ids"][:2]
            config["history"] = config["history"][:2]
            config["config"] = {}
            manifest["layers"] = manifest["layers"][:2]
            manifest["config"] = put(config, manifest["config"])
            index["manifests"][number] = put(manifest, entry)
        found = put(index, {"mediaType": index["mediaType"]})
        (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [found]}))
        return f"oci-layout://{layout}@{found['digest']}"

    def buildx(self, *, reproducible: bool) -> None:
        """Plain ``docker buildx build`` of the same content."""
        out = self.home / "out"
        shutil.rmtree(out, ignore_errors=True)
        output = f"type=oci,tar=false,dest={out}"
        subprocess.run(
            [
                *self.docker,
                *("buildx", "build", "--quiet", "--network", "none", "--platform", PLATFORMS),
                *("--provenance", "false", "--build-context", f"base={self.base}"),
                *("--build-arg", f"SOURCE_DATE_EPOCH={EPOCH}"),
                *("--output", output + (",rewrite-timestamp=true" if reproducible else "")),
                *("--file", str(self.plain), str(self.app)),
            ],
            env=self.environment,
            check=True,
            capture_output=True,
        )


def main() -> None:
    """Run and print."""
    with tempfile.TemporaryDirectory() as home:
        scene = Scene(Path(home))

        def changed(work: Any) -> Any:
            def run() -> None:
                scene.change()
                work()

            return run

        def plain() -> None:
            scene.buildx(reproducible=False)

        def rewriting() -> None:
            scene.buildx(reproducible=True)

        compare("no-op, beside plain buildx", scene.build, plain)
        compare(
            "changed line, beside buildx (not reproducible)", changed(scene.build), changed(plain)
        )
        compare(
            "changed line, beside buildx with rewrite-timestamp",
            changed(scene.build),
            changed(rewriting),
            runs=3,
        )


if __name__ == "__main__":
    main()
