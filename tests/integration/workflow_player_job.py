"""One job of a workflow, played on this machine: its steps, and the actions that they use."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import yaml
from workflow_player_words import Lenient, UnknownError, Words, text

if TYPE_CHECKING:
    from pathlib import Path

    from workflow_player import Player

STEP_KEYS = {"name", "id", "if", "uses", "with", "env", "run", "shell", "working-directory"}
SHELLS = {"": ["bash", "-e"], "bash": ["bash", "--noprofile", "--norc", "-eo", "pipefail"]}
_OURS = re.compile(
    r"(GITHUB_|ACTIONS_|RUNNER_|EDGE_BUILDKIT_|SIGSTORE_|XDG_CONFIG)|(CI|HOME|PATH)$"
)


@dataclass
class Ran:
    """What became of a job, or of one row of its matrix.

    Attributes:
        result: `success`, `failure` or `skipped`.
        outputs: as its `outputs:` say.
        said: standard output and error of its steps, in order.
        summary: what it wrote for people.
        steps: names of the steps that ran, and how each ended.
        seconds: how long each took.
    """

    result: str = "success"
    outputs: dict[str, Any] = field(default_factory=dict)
    said: str = ""
    summary: str = ""
    steps: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def add(self, other: Ran) -> None:
        """Count another row in: one failure is enough, and of outputs the last one stays."""
        if other.result == "failure":
            self.result = "failure"
        self.outputs |= {key: each for key, each in other.outputs.items() if each != ""}
        self.said += other.said
        self.summary += other.summary
        self.steps |= other.steps
        self.seconds |= other.seconds


class Loader(yaml.SafeLoader):
    """YAML 1.2's truths, as GitHub has them: `on` stays a word."""


Loader.yaml_implicit_resolvers = {
    first: [each for each in known if each[0] != "tag:yaml.org,2002:bool"]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"true|false"), list("tf"))


class Instance:
    """One row of a job's matrix."""

    def __init__(
        self,
        player: Player,
        place: Path,
        *,
        name: str,
        body: Mapping[str, Any],
        permits: Mapping[str, str],
    ) -> None:
        self.player, self.body, self.name, self.permits = player, body, name, permits
        self.workspace, self.temp, self.home = (place / each for each in ("work", "temp", "home"))
        for each in (self.workspace, self.temp, self.home):
            each.mkdir(parents=True)
        self.ran = Ran()
        self.environ: dict[str, str] = {}
        self.path: list[str] = []

    def run(self, outer: Words, secrets: Mapping[str, str]) -> Ran:
        """Run its steps, and work out its outputs."""
        hidden = Lenient({"GITHUB_TOKEN": outer.contexts["github"]["token"], **secrets})
        runner = {"temp": str(self.temp), "arch": self._arch(outer), "os": "Linux"}
        words = Words(
            {**outer.contexts, "secrets": hidden, "runner": runner},
            {
                **outer.functions,
                "success": lambda: self.ran.result == "success",
                "failure": lambda: self.ran.result == "failure",
                "hashFiles": self._hash,
            },
        )
        row = words.contexts.get("matrix", {})
        self.title = f"{self.name} {row.get('architecture', '')}".strip()
        text(outer.filled(self.body["runs-on"]))
        outer.filled(self.body.get("environment"))
        # No runner has it yet.
        early = self._with(outer, secrets=hidden)
        self.job_environ = {
            key: text(each) for key, each in early.filled(self.body.get("env", {})).items()
        }
        self.reference = words.contexts["github"]["workflow_ref"]
        ended = self._steps(self.body["steps"], words, {})
        self.ran.outputs = self._with(words, steps=ended).filled(self.body.get("outputs", {}))
        return self.ran

    @staticmethod
    def _arch(words: Words) -> str:
        """As the row of the matrix has it, whatever this machine is."""
        row = words.contexts.get("matrix", {})
        return {"arm64": "ARM64"}.get(row.get("architecture", ""), "X64")

    def _with(self, words: Words, *without: str, **contexts: Any) -> Words:
        """Contexts more and less: GitHub's table "Context availability" says where each is."""
        kept = {name: each for name, each in words.contexts.items() if name not in without}
        return Words({**kept, **contexts}, words.functions)

    def _steps(
        self, steps: Iterable[Mapping[str, Any]], words: Words, environ: Mapping[str, str]
    ) -> dict[str, Any]:
        """Run steps of a job, or of a composite action; the context `steps`."""
        ended: dict[str, Any] = {}
        for step in steps:
            only(step, STEP_KEYS, f"{self.name}: step")
            variables = Lenient({**self.job_environ, **self.environ})
            now = self._with(words, steps=ended, env=variables)
            title = step.get("name") or step.get("uses") or step["run"].splitlines()[0]
            if not self._with(now, "secrets").holds(step.get("if", "success()")):
                continue
            more = {key: text(each) for key, each in now.filled(step.get("env", {})).items()}
            outputs: dict[str, Any] = {}
            began = time.monotonic()
            if "run" in step:
                status, outputs = self._run(step, now, {**environ, **more})
            else:
                status = self._use(step["uses"], now.filled(step.get("with", {})), now)
            self.ran.steps[title] = "success" if status == 0 else "failure"
            self.ran.seconds[title] = time.monotonic() - began
            if status:
                self.ran.result = "failure"
            if "id" in step:
                ended[step["id"]] = {"outputs": Lenient(outputs)}
        return ended

    def _run(
        self, step: Mapping[str, Any], words: Words, environ: Mapping[str, str]
    ) -> tuple[int, dict[str, str]]:
        if "${{" in step["run"]:
            msg = f"{self.name}: an expression inside a script: hand it over by `env`"
            raise UnknownError(msg)
        files = {name: self.temp / f"_{name}" for name in ("output", "env", "path", "step_summary")}
        for file in files.values():
            file.write_text("")
        script = self.temp / "_script"
        script.write_text(step["run"])
        where = self.workspace / text(words.filled(step.get("working-directory", ".")))
        done = subprocess.run(
            [*SHELLS[step.get("shell", "")], script],
            cwd=where,
            env=self._variables(environ)
            | {f"GITHUB_{k.upper()}": str(v) for k, v in files.items()},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=900,
        )
        self.ran.said += f"--- {step.get('name', step['run'])}\n{done.stdout}\n"
        self.ran.summary += files["step_summary"].read_text()
        self.environ |= _pairs(files["env"])
        self.path = [*reversed(files["path"].read_text().split()), *self.path]
        return done.returncode, _pairs(files["output"])

    def _variables(self, environ: Mapping[str, str]) -> dict[str, str]:
        """What a runner gives a step: nothing of the tests' own identity, keys or home."""
        player = self.player
        kept = {name: each for name, each in os.environ.items() if not _OURS.match(name)}
        given = {
            "CI": "true",
            "HOME": str(self.home),
            "PATH": os.pathsep.join(
                [*self.path, "/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin"]
            ),
            "RUNNER_TEMP": str(self.temp),
            "GITHUB_ACTIONS": "true",
            "GITHUB_SHA": player.sha,
            "GITHUB_REF": "refs/heads/main",
            "GITHUB_REPOSITORY": player.repository,
            "GITHUB_WORKSPACE": str(self.workspace),
        }
        url, asked = player.tokens
        if self.permits.get("id-token") == "write" and url:
            given["ACTIONS_ID_TOKEN_REQUEST_URL"] = f"{url}?who={quote(self.reference)}"
            given["ACTIONS_ID_TOKEN_REQUEST_TOKEN"] = asked
        return {
            **kept,
            **given,
            **player.environ,
            **self.job_environ,
            **self.environ,
            **environ,
        }

    def _use(self, uses: str, given: Mapping[str, Any], words: Words) -> int:
        """An action: 0 when all went well."""
        if uses.startswith("$/"):
            place = self.player.tree() / own(uses)
            action = yaml.load((place / "action.yml").read_text(), Loader=Loader)  # noqa: S506 - safe
            only(action, {"name", "description", "inputs", "runs"}, uses)
            if action["runs"]["using"] != "composite":
                msg = f"{uses}: not a composite action"
                raise UnknownError(msg)
            texts = {key: text(each) for key, each in given.items()}
            inputs = inputs_of(action, texts, uses)
            before = self.ran.result
            # An action knows what it is given, and not whom else the job knows.
            inner = self._with(words, "secrets", "vars", "needs", inputs=inputs)
            self._steps(action["runs"]["steps"], inner, {"GITHUB_ACTION_PATH": str(place)})
            return int(self.ran.result == "failure" and before == "success")
        name, _, commit = uses.partition("@")
        if name not in _ACTIONS or not re.fullmatch(r"[0-9a-f]{40}", commit):
            msg = f"{self.name}: uses {uses}, which the player has no equivalent of"
            raise UnknownError(msg)
        known, act = _ACTIONS[name]
        only(given, known, uses)
        return act(self, {key: text(each) for key, each in given.items()})

    def checkout(self, given: Mapping[str, str]) -> int:
        """A clone of the commit; without its history unless `fetch-depth: 0` asks for it."""
        depth = [] if given.get("fetch-depth") == "0" else ["--depth=1"]
        source = f"file://{self.player.origin}"
        subprocess.run(["git", "clone", "--quiet", *depth, source, self.workspace], check=True)
        found = subprocess.run(
            ["git", "-C", self.workspace, "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            check=True,
        )
        self.player.disturb(self.title, self.workspace)
        return int(found.stdout.strip() != self.player.sha)

    def cache(self, given: Mapping[str, str]) -> int:
        """Nothing: runners begin without what others kept. But the key must say what it holds."""
        key = given["key"]
        if key.endswith("-") or key in given.get("restore-keys", "").split():
            msg = f"the cache {key!r} is named after nothing: GitHub would keep the first for ever"
            raise UnknownError(msg)
        return int(not (given["path"] and key))

    def upload(self, given: Mapping[str, str]) -> int:
        """A copy; a name counts once, files whose names begin with a point stay behind.

        `overwrite` is for whoever runs a job again; nobody does so here, and two jobs that put
        their files under one name would lose those of the first.
        """
        source, target = self._place(given["path"]), self.player.artifacts / given["name"]
        if target.exists():
            msg = f"there is an artifact {given['name']} already"
            raise UnknownError(msg)
        files = [each for each in source.rglob("*") if each.is_file()]
        if not files:
            return int(given.get("if-no-files-found") == "error")
        shutil.copytree(source, target, ignore=shutil.ignore_patterns(".*"))
        return 0

    def download(self, given: Mapping[str, str]) -> int:
        """A copy: of one, or of all whose names fit, each of several in a folder of its name."""
        target = self._place(given["path"])
        if "name" in given:
            source = self.player.artifacts / given["name"]
            if not source.exists():
                self.ran.said += f"no artifact {given['name']}\n"
                return 1
            shutil.copytree(source, target, dirs_exist_ok=True)
            return 0
        found = sorted(self.player.artifacts.glob(given["pattern"]))
        for source in found:
            # As version 8 of the action does it.
            place = target if len(found) == 1 else target / source.name
            shutil.copytree(source, place, dirs_exist_ok=True)
        return 0

    def _place(self, path: str) -> Path:
        """One path, not several and no pattern."""
        if "\n" in path.strip() or "*" in path:
            msg = f"{path!r}: more than one path"
            raise UnknownError(msg)
        return self.workspace / path.strip()

    def _hash(self, *patterns: str) -> str:
        found = sorted({each for pattern in patterns for each in self.workspace.glob(pattern)})
        data = b"".join(hashlib.sha256(each.read_bytes()).digest() for each in found)
        return hashlib.sha256(data).hexdigest() if found else ""


_Act = Callable[[Instance, Mapping[str, str]], int]
_ACTIONS: dict[str, tuple[set[str], _Act]] = {
    "actions/checkout": ({"persist-credentials", "fetch-depth"}, Instance.checkout),
    "actions/cache": ({"path", "key", "restore-keys"}, Instance.cache),
    "actions/upload-artifact": (
        {"name", "path", "overwrite", "compression-level", "if-no-files-found", "retention-days"},
        Instance.upload,
    ),
    "actions/download-artifact": ({"name", "path", "pattern"}, Instance.download),
}


def only(found: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    if strange := set(found) - set(known):
        msg = f"{where}: the player does not know {', '.join(sorted(map(str, strange)))}"
        raise UnknownError(msg)


def own(uses: str) -> str:
    """The path of an action or workflow of the repository itself."""
    if not uses.startswith("$/"):
        msg = f"{uses}: neither `$/…` nor an action that the player knows"
        raise UnknownError(msg)
    return uses.removeprefix("$/")


def inputs_of(declared: Mapping[str, Any], given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Inputs with their defaults; of the type that a reusable workflow declares."""
    known = declared.get("inputs", {})
    only(given, known, where)
    found: dict[str, Any] = {}
    for name, each in known.items():
        if name not in given and each.get("required"):
            msg = f"{where}: the input {name} is missing"
            raise UnknownError(msg)
        value = given.get(name, each.get("default", ""))
        types = {"string": str, "boolean": bool, "number": int | float}
        if "type" in each and not isinstance(value, types[each["type"]]):
            msg = f"{where}: the input {name} is no {each['type']}: {value!r}"
            raise UnknownError(msg)
        found[name] = value
    return found


def _pairs(file: Path) -> dict[str, str]:
    """The lines `name=value` of an environment file; its other form is not known."""
    found = {}
    for line in file.read_text().splitlines():
        name, mark, value = line.partition("=")
        if not mark or "<<" in name:
            msg = f"{file.name}: {line!r}: neither name nor value"
            raise UnknownError(msg)
        found[name] = value
    return found
