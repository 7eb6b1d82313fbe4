"""A project of a user's own, with the real CLI, and the real engine's Docker API."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from buildkit.store import Store

if TYPE_CHECKING:
    from collections.abc import Mapping

    from buildkit.engine import Engine

ROOT = Path(__file__).parents[2]
_GIT = {
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@example.org",
    "GIT_AUTHOR_DATE": "2026-01-02T00:00:00Z",
    "GIT_COMMITTER_DATE": "2026-01-02T00:00:00Z",
}


@dataclass(frozen=True)
class Project:
    """A git work tree with one recipe in it."""

    root: Path
    name: str

    @property
    def recipe(self) -> Path:
        return self.root / "recipes" / self.name / "recipe.toml"

    @property
    def lock(self) -> Path:
        return self.recipe.with_suffix(".lock")

    @property
    def folder(self) -> Path:
        return self.recipe.parent

    @property
    def store(self) -> Store:
        return Store.open(self.root / ".buildkit/store")

    def cli(
        self,
        *words: str | Path,
        env: Mapping[str, str] | None = None,
        prefix: tuple[str, ...] = (),
        status: int | None = 0,
    ) -> subprocess.CompletedProcess[str]:
        """Run ``python -m buildkit`` as a user would."""
        done = subprocess.run(
            [*prefix, sys.executable, "-m", "buildkit", *map(str, words)],
            cwd=self.root,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=1200,
        )
        if status is not None:
            assert done.returncode == status, (
                f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
            )
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def build(self, *words: str | Path, **how: Any) -> dict[str, Any]:
        """``build --json``: the object it prints."""
        done = self.cli("build", self.recipe, "--json", *words, **how)
        result: dict[str, Any] = json.loads(done.stdout)
        return result

    def commit(self) -> None:
        """Commit everything, with fixed names and times."""
        for words in (["add", "-A"], ["commit", "-q", "--allow-empty", "-m", "a change"]):
            subprocess.run(["git", *words], cwd=self.root, env={**os.environ, **_GIT}, check=True)


def make_project(root: Path, name: str) -> Project:
    """A new project with a copy of one of our recipes, committed."""
    shutil.copytree(
        ROOT / "recipes" / name,
        root / "recipes" / name,
        ignore=shutil.ignore_patterns("__pycache__", ".buildkit"),
    )
    project = Project(root, name)
    subprocess.run(["git", "init", "-q", "-b", "main", root], check=True)
    project.commit()
    return project


class Docker:
    """The engine's Docker API: loads images, fills volumes, runs containers."""

    def __init__(self, engine: Engine) -> None:
        import docker

        self.client = docker.DockerClient(base_url=f"unix://{engine.socket}")

    def load(self, archive: bytes) -> str:
        """Load an image archive; the image's id."""
        return str(self.client.images.load(archive)[0].id)

    def volume(self, name: str, image: str, files: Mapping[str, bytes]) -> str:
        """A volume that holds `files`; a container of `image` is the way in."""
        self.client.volumes.create(name)
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as archive:
            for path, data in files.items():
                info = tarfile.TarInfo(path)
                info.size, info.mode = len(data), 0o444
                archive.addfile(info, io.BytesIO(data))
        holder = self.client.containers.create(image, volumes={name: {"bind": "/in", "mode": "rw"}})
        try:
            holder.put_archive("/in", stream.getvalue())
        finally:
            holder.remove(v=False)
        return name

    def run(self, image: str, command: list[str], volumes: Mapping[str, str]) -> str:
        """Run a container without a network on a read-only root; its standard output."""
        output = self.client.containers.run(
            image,
            command,
            network_mode="none",
            read_only=True,
            remove=True,
            volumes={name: {"bind": path, "mode": "ro"} for name, path in volumes.items()},
        )
        return bytes(output).decode()
