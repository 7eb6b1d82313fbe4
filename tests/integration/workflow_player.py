"""Plays a workflow of GitHub Actions on this machine: every `run:` step for real, in clean clones.

One job after the other, each with a workspace, a temporary folder and a home of its own. Every
runner of a matrix is this machine. The few `actions/*` that we use have equivalents here; actions
and workflows of the repository itself (`uses: $/…`) are taken out of the commit that is played.
What the player does not know is an error, never passed over.
"""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING, Any

import yaml
from workflow_player_job import Instance, Loader, Ran, inputs_of, only, own
from workflow_player_words import (
    Lenient,
    UnknownError,
    Words,
    formatted,
    from_json,
    to_json,
)

if TYPE_CHECKING:
    from pathlib import Path

WORKFLOW_KEYS = {"name", "on", "permissions", "concurrency", "env", "jobs"}
JOB_KEYS = {
    *("name", "needs", "if", "runs-on", "timeout-minutes", "permissions", "strategy", "env"),
    *("steps", "outputs", "uses", "with", "environment"),
}
STRATEGY_KEYS = {"fail-fast", "max-parallel", "matrix"}
LEVELS = {"none": 0, "read": 1, "write": 2}


@dataclass(kw_only=True)
class Player:
    """A forge with one repository, whose default branch is `main`.

    Attributes:
        origin: the repository.
        folder: for all that is played; empty.
        shared: for the tools of `$/` actions; may be used by players of other commits.
        variables: `vars`.
        secrets: `secrets`; GitHub's own token is always there.
        environ: further variables of the runners.
        tokens: URL that gives identity tokens, and the word that it asks for.
        event: name of what set it off, and what GitHub says of it.
        disturb: called with each job's name and architecture after its checkout.
    """

    origin: Path
    folder: Path
    shared: Path
    variables: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)
    tokens: tuple[str, str] = ("", "")
    event: tuple[str, Mapping[str, Any]] = ("push", {})
    disturb: Callable[[str, Path], None] = lambda _name, _workspace: None
    jobs: dict[str, Ran] = field(default_factory=dict)
    server: str = "https://github.example.test"
    repository: str = "shop/vision"

    def __post_init__(self) -> None:
        self.sha = self.git("rev-parse", "HEAD").strip()
        self.artifacts = self.folder / "artifacts"
        self.artifacts.mkdir(parents=True)

    def git(self, *words: str) -> str:
        """What git says of the repository."""
        return subprocess.run(
            ["git", "-C", self.origin, *words], capture_output=True, text=True, check=True
        ).stdout

    def read(self, path: str) -> Any:
        """A YAML file of the commit; `on` is a word here, not a truth."""
        return yaml.load(self.git("show", f"{self.sha}:{path}"), Loader=Loader)  # noqa: S506 - safe

    def tree(self) -> Path:
        """The commit's files, as the runner has them for `$/`; shared while they are the same."""
        rows = self.git("ls-tree", self.sha).splitlines()
        same_tools = "\n".join(row for row in rows if not row.endswith(("\trecipes", "\tci")))
        place = self.shared / hashlib.sha256(same_tools.encode()).hexdigest()[:16]
        if not place.exists():
            done = subprocess.run(
                ["git", "-C", self.origin, "archive", self.sha], capture_output=True, check=True
            )
            with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
                archive.extractall(place, filter="tar")
        return place

    def play(
        self,
        path: str,
        *,
        given: Mapping[str, Any] | None = None,
        allowed: Mapping[str, str] | None = None,
        prefix: str = "",
    ) -> dict[str, Any]:
        """Play a workflow; its outputs, when it is a reusable one.

        Args:
            path: of the workflow in the repository.
            given: inputs of a reusable workflow.
            allowed: what the caller's job permits; everything when absent.
            prefix: of the names in `jobs`.
        """
        flow = self.read(path)
        only(flow, WORKFLOW_KEYS, path)
        called = flow["on"].get("workflow_call", {}) if isinstance(flow["on"], Mapping) else {}
        inputs = inputs_of(called, given or {}, path)
        name = self.event[0]
        github = {
            "actor": "somebody",
            "event": _lenient(self.event[1]),
            "event_name": name,
            "ref": "refs/heads/main",
            "repository": self.repository,
            "run_id": "1",
            "server_url": self.server,
            "sha": self.sha,
            "token": "a-token-of-the-forge",
            "workflow_ref": f"{self.repository}/{path}@refs/heads/main",
        }
        done: dict[str, Ran] = {}
        jobs = flow["jobs"]
        graph = {job: _listed(jobs[job].get("needs")) for job in jobs}
        above: dict[str, set[str]] = {}
        for job in TopologicalSorter(graph).static_order():
            body = jobs[job]
            only(body, JOB_KEYS, f"{path}: {job}")
            above[job] = {*graph[job], *(each for need in graph[job] for each in above[need])}
            results = {done[each].result for each in above[job]}
            needs = {
                each: {"result": done[each].result, "outputs": done[each].outputs}
                for each in graph[job]
            }
            contexts = {
                "github": github,
                "inputs": inputs,
                "needs": needs,
                "vars": Lenient(self.variables),
            }
            words = Words(contexts, _functions(results))
            if words.holds(body.get("if", "success()")):
                permits = body.get("permissions", flow.get("permissions"))
                _permitted(permits, allowed, f"{path}: {job}")
                done[job] = self._job(prefix + job, body, words, permits)
            else:
                done[job] = Ran(result="skipped")
            self.jobs[prefix + job] = done[job]
        failed = any(each.result == "failure" for each in done.values())
        ends = {
            name: {"outputs": each.outputs, "result": each.result} for name, each in done.items()
        }
        outputs = called.get("outputs", {})
        words = Words({"jobs": ends, "inputs": inputs}, _functions(set()))
        answer = (
            {} if failed else {key: words.filled(each["value"]) for key, each in outputs.items()}
        )
        return {"result": "failure" if failed else "success", "outputs": answer}

    def _job(
        self, name: str, body: Mapping[str, Any], words: Words, permits: Mapping[str, str]
    ) -> Ran:
        strategy = body.get("strategy", {})
        only(strategy, STRATEGY_KEYS, name)
        rows: list[dict[str, Any]] = [{}]
        if "matrix" in strategy:
            matrix = words.filled(strategy["matrix"])
            only(matrix, {"include"}, f"{name}: matrix")
            rows = matrix["include"]
            if not rows:
                msg = f"{name}: a matrix without rows"
                raise UnknownError(msg)
        ran = Ran()
        for number, row in enumerate(rows):
            contexts = {**words.contexts, "matrix": row} if row else dict(words.contexts)
            inner = Words(contexts, words.functions)
            if "uses" in body:
                path = own(body["uses"])
                given = inner.filled(body.get("with", {}))
                answer = self.play(path, given=given, allowed=permits, prefix=f"{name} / ")
                ran.add(Ran(result=answer["result"], outputs=answer["outputs"]))
            else:
                place = self.folder / "jobs" / f"{name.replace(' / ', '-')}-{number}"
                hidden = {} if " / " in name else self.secrets
                instance = Instance(self, place, name=name, body=body, permits=permits)
                ran.add(instance.run(inner, hidden))
        return ran


def _functions(results: set[str]) -> dict[str, Callable[..., Any]]:
    """What an `if` of a job may call, when the jobs before it ended so."""
    return {
        "always": lambda: True,
        "success": lambda: not results & {"failure", "skipped"},
        "failure": lambda: "failure" in results,
        "cancelled": lambda: False,
        "fromJSON": from_json,
        "toJSON": to_json,
        "format": formatted,
    }


def _permitted(asked: Any, allowed: Mapping[str, str] | None, where: str) -> None:
    """A called workflow gets at most what its caller's job may do; GitHub refuses the rest."""
    if not isinstance(asked, Mapping):
        msg = f"{where}: does not say what it may do"
        raise UnknownError(msg)
    for scope, level in asked.items() if allowed is not None else ():
        if LEVELS[level] > LEVELS[allowed.get(scope, "none") if allowed else "none"]:
            msg = f"{where}: asks for {scope}: {level}, which its caller may not give"
            raise UnknownError(msg)


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or ())


def _lenient(value: Any) -> Any:
    if isinstance(value, Mapping):
        return Lenient({key: _lenient(each) for key, each in value.items()})
    return value
