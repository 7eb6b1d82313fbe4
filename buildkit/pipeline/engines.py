"""Which BuildKit a build uses: the pinned engine, or a builder of the user's own."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from buildkit import canonical, digests
from buildkit.engine import Engine, EngineSpec
from buildkit.errors import ToolError
from buildkit.image.buildx import Builder
from buildkit.lock import codec
from buildkit.pipeline.nixstage import NixStage, code_digest, host_architecture
from buildkit.run import tied

if TYPE_CHECKING:
    from buildkit.pipeline.progress import Progress
    from buildkit.run import Runner


def sweep_orphans(runner: Runner) -> None:
    """End engines that were started for one command alone, when that was killed."""
    for engine in Engine.known(runner):
        if engine.is_orphan:
            engine.forget()


class Engines:
    """Finds and starts engines.

    Args:
        runner: starts the launcher.
        apart: name of an engine that nothing else shares; the one that a lock pins when absent.
    """

    def __init__(self, runner: Runner, apart: str | None = None) -> None:
        self._runner = runner
        self._apart = apart

    def spec(self, nix: NixStage) -> EngineSpec:
        """What the engine of a lock is made of; Nix makes it when it is not there yet."""
        pins = codec.to_json(nix.lock)["hosts"][host_architecture()]
        key = digests.of_bytes(canonical.dump({"pins": pins, "code": code_digest()}))
        paths = nix.paths("hostTools", key)
        physical = nix.nix.physical
        return EngineSpec(
            tree=physical(paths["engine"]),
            tools=physical(paths["tools"]),
            tools_library=physical(paths["library_path"]),
            tools_loader=physical(paths["loader"]),
            emulator=paths["foreign"],
            foreign="arm64" if host_architecture() == "amd64" else "amd64",
        )

    def start(self, nix: NixStage, progress: Progress) -> Engine:
        """The running engine of a lock."""
        spec = self.spec(nix)
        engine = Engine(self._apart or spec.identity, self._runner)
        engine.start(spec, progress.note)
        return engine

    def builder(self, name: str | None, nix: NixStage, progress: Progress) -> Builder:
        """The builder that a build uses.

        Args:
            name: a buildx builder of the user's own; the pinned engine when absent.
            nix: makes the engine.
            progress: told when one is started.

        Raises:
            ToolError: the user's own builder needs a docker client, and there is none.
        """
        if name is not None:
            if shutil.which("docker") is None:
                msg = f"--builder {name}: there is no docker client on this machine"
                raise ToolError(msg, "install the docker CLI with its buildx plugin")
            progress.note(f"building with your own builder {name}")
            return Builder(client=tied(("docker",)), socket="", config="", name=name)
        engine = self.start(nix, progress)
        return Builder(
            client=tied(engine.client),
            socket=engine.client_environment["DOCKER_HOST"],
            config=engine.client_environment["DOCKER_CONFIG"],
            name="default",
        )
