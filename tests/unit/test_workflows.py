"""What holds for every workflow and action of ours, and that a broken one is found out."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
FORGE = ROOT / ".github"
WORKFLOWS = sorted((FORGE / "workflows").glob("*.yml"))
ACTIONS = sorted(FORGE.glob("actions/*/action.yml"))
BIN = FORGE / "actions/setup/bin"
SCHEMAS = {
    "github-workflows": WORKFLOWS,
    "github-actions": ACTIONS,
    "gitlab-ci": sorted((ROOT / "docs/examples").glob("*.yml")),
}
PINNED = re.compile(r"^actions/[a-z-]+@[0-9a-f]{40}$")
# What may be asked for, and where: everything else only reads.
WRITES = {
    ("main.yml", "publish"): {"id-token", "packages"},
    ("main.yml", "smoke"): {"id-token"},
    ("main.yml", "promote"): {"id-token", "packages"},
    ("nightly.yml", "report"): {"issues"},
}
# The one file that may name a host: whoever runs the workflows writes it (docs/ci.md).
SOURCES = FORGE / "debian.sources"
HOST = re.compile(r"\b(?:[a-z0-9-]+\.)+(?:io|com|org|net|dev|cloud|azure)\b")


def named(files: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("file", files, ids=lambda file: str(file.relative_to(FORGE)))


def load(file: Path) -> dict[str, Any]:
    # `on` is a truth in YAML 1.1.
    document: dict[str, Any] = yaml.load(file.read_text(), Loader=yaml.BaseLoader)  # noqa: S506 - safe
    return document


def steps(file: Path) -> Iterator[dict[str, Any]]:
    document = load(file)
    for job in document.get("jobs", {}).values():
        yield from job.get("steps", [])
    yield from document.get("runs", {}).get("steps", [])


def check(schema: str, *files: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", *files],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def zizmor(*files: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("zizmor")
    return subprocess.run(
        [program, "--offline", "--no-progress", "--no-config", "--persona=regular", *files],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={name: each for name, each in os.environ.items() if name != "GH_TOKEN"},
    )


def shellcheck(script: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("shellcheck")
    assert program, "shellcheck is not on this machine: make bootstrap-tests"
    return subprocess.run(
        [program, "--shell=bash", "-"],
        input=script,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_each_file_fits_its_schema() -> None:
    for schema, files in SCHEMAS.items():
        if files:
            done = check(schema, *files)
            assert done.returncode == 0, done.stdout + done.stderr


def test_the_linter_finds_nothing() -> None:
    done = zizmor(*WORKFLOWS, *ACTIONS)
    assert done.returncode == 0, done.stdout + done.stderr


@named([*WORKFLOWS, *ACTIONS])
def test_each_script_holds_before_shellcheck(file: Path) -> None:
    for step in steps(file):
        if "run" in step:
            done = shellcheck(step["run"])
            assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", ["edge-buildkit", "keep-built"])
def test_each_command_holds_before_shellcheck(name: str) -> None:
    done = shellcheck((BIN / name).read_text())
    assert done.returncode == 0, done.stdout


def test_each_script_of_the_gitlab_example_holds_before_shellcheck() -> None:
    (file,) = SCHEMAS["gitlab-ci"]
    document = load(file)
    usual = document["default"]["before_script"]
    jobs = {name: job for name, job in document.items() if "script" in job}
    assert len(jobs) == 5
    for name, job in jobs.items():
        assert set(job.get("needs", [])) <= jobs.keys(), name
        # GitLab runs both in one shell.
        done = shellcheck("\n".join([*job.get("before_script", usual), *job["script"]]))
        assert done.returncode == 0, f"{name}:\n{done.stdout}"


def test_nothing_that_is_published_was_taken_out_of_a_cache() -> None:
    """Inputs are held against the lock's hashes; what Nix made would be believed."""
    for file in WORKFLOWS:
        cached = [step for step in steps(file) if "nix-cache" in step.get("with", {})]
        assert not cached or file.name == "pull-request.yml", file.name


@named([*WORKFLOWS, *ACTIONS])
def test_what_is_used_is_ours_or_pinned_to_a_commit(file: Path) -> None:
    jobs = load(file).get("jobs", {}).values()
    for used in [each["uses"] for each in (*steps(file), *jobs) if "uses" in each]:
        if used.startswith("$/"):
            assert (ROOT / used[2:]).exists(), used
        else:
            assert PINNED.match(used), used
            # Dependabot and people read the version there.
            assert re.search(
                rf"{re.escape(used)} # v\d+\.\d+\.\d+$", file.read_text(), re.MULTILINE
            ), used


def test_one_commit_for_each_action() -> None:
    """Two pins of one action are one that nobody updated."""
    used = {
        each["uses"]
        for file in (*WORKFLOWS, *ACTIONS)
        for each in steps(file)
        if each.get("uses", "").startswith("actions/")
    }
    assert len({each.partition("@")[0] for each in used}) == len(used)


@named(sorted(path for path in FORGE.rglob("*") if path.is_file() and path != SOURCES))
def test_no_host_is_named(file: Path) -> None:
    assert not HOST.search(file.read_text()), HOST.findall(file.read_text())


@named(WORKFLOWS)
def test_each_job_may_do_what_it_must_and_no_more(file: Path) -> None:
    document = load(file)
    assert document["permissions"] == {}
    for name, job in document["jobs"].items():
        writes = {scope for scope, level in job["permissions"].items() if level == "write"}
        assert writes == WRITES.get((file.name, name), set()), name
        assert set(job["permissions"].values()) <= {"read", "write"}, name
        assert "timeout-minutes" in job or "uses" in job, name


@named(WORKFLOWS)
def test_no_checkout_leaves_its_token_behind(file: Path) -> None:
    for step in steps(file):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] == "false"


@named([*WORKFLOWS, *ACTIONS])
def test_no_script_is_made_of_what_others_wrote(file: Path) -> None:
    for step in steps(file):
        assert "${{" not in step.get("run", ""), step


def test_pull_requests_get_no_secret_and_no_identity() -> None:
    file = FORGE / "workflows/pull-request.yml"
    assert set(load(file)["on"]) == {"pull_request"}
    text = file.read_text()
    for word in ("secrets.", "vars.", "id-token", "write", "pull_request_target"):
        # `overwrite` is another word.
        assert not re.search(rf"(?<!\w){re.escape(word)}", text), word
    for other in WORKFLOWS:
        assert not {"pull_request_target", "workflow_run"} & set(load(other)["on"])


def test_who_publishes_stands_on_the_main_branch() -> None:
    """By hand a workflow can be started on any branch, with the files that lie there."""
    for file in WORKFLOWS:
        document = load(file)
        if "workflow_dispatch" not in document["on"]:
            continue
        jobs = document["jobs"]

        def guarded(name: str, jobs: dict[str, Any] = jobs) -> bool:
            needs = jobs[name].get("needs", [])
            above = [needs] if isinstance(needs, str) else needs
            here = "github.ref == 'refs/heads/main'" in jobs[name].get("if", "")
            return here or any(map(guarded, above))

        for name in jobs:
            if {"id-token", "packages"} & WRITES.get((file.name, name), set()):
                assert guarded(name), f"{file.name}: {name}"
                # Asked for the status, a job runs although the guarded one was skipped.
                assert not re.search(r"(always|failure|cancelled)\(", jobs[name].get("if", ""))


@named(WORKFLOWS)
def test_a_job_that_failed_can_be_run_again(file: Path) -> None:
    """In a second attempt its artifacts are there already, which is an error without the word."""
    for step in steps(file):
        if step.get("uses", "").startswith("actions/upload-artifact@"):
            assert step["with"]["overwrite"] == "true", step


def setups(file: Path) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    for name, job in load(file).get("jobs", {}).items():
        for step in job.get("steps", []):
            if step.get("uses") == "$/.github/actions/setup":
                yield name, job, step["with"]


def checks_out(job: dict[str, Any]) -> bool:
    first = job["steps"][0]
    return first.get("uses", "").startswith("actions/checkout@") and "if" not in first


@named(WORKFLOWS)
def test_a_file_of_the_repository_is_there_where_it_is_named(file: Path) -> None:
    """Without a checkout the workspace is empty."""
    for name, job in load(file)["jobs"].items():
        if {"POLICY", "TRUST_CONFIG"} & job.get("env", {}).keys():
            assert checks_out(job), name


@named(WORKFLOWS)
def test_what_is_made_of_debian_packages_has_the_file_that_says_where_from(file: Path) -> None:
    for name, job, given in setups(file):
        if given.get("root", "false") == "false":
            continue
        assert checks_out(job), name


@named(WORKFLOWS)
def test_jobs_that_fetch_other_inputs_have_another_cache(file: Path) -> None:
    """GitHub keeps the first one of a key: rows of a matrix would shut one another out."""
    found = set()
    for name, job, given in setups(file):
        if given.get("cache", "true") != "false":
            assert given["cache-name"] not in found, name
            found.add(given["cache-name"])
            # Each row starts the same emulated board.
            rows = "matrix" in job.get("strategy", {}) and given["cache-name"] != "standin"
            assert not rows or "${{ matrix.name }}" in given["cache-name"], name


def action_step(name: str) -> str:
    (script,) = (each["run"] for each in steps(ACTIONS[0]) if each["name"] == name)
    assert isinstance(script, str)
    return script


def run_action_step(name: str, workspace: Path, **environ: str) -> dict[str, str]:
    """What a step of the action hands on."""
    temp = workspace.with_name(f"{workspace.name}.temp")
    temp.mkdir(exist_ok=True)
    said = temp / "said"
    said.write_text("")
    variables = {"GITHUB_OUTPUT": said, "GITHUB_ENV": said, "GITHUB_PATH": temp / "path"}
    variables |= {"GITHUB_WORKSPACE": workspace, "RUNNER_TEMP": temp, "HOME": temp}
    variables |= {"GITHUB_ACTION_PATH": workspace.parent / "tool/.github/actions/setup"}
    subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", action_step(name)],
        env={"PATH": os.environ["PATH"], **{key: str(each) for key, each in variables.items()}}
        | environ,
        check=True,
    )
    return dict(line.split("=", 1) for line in said.read_text().splitlines())


def test_a_cache_is_named_after_the_locks_wherever_they_lie(tmp_path: Path) -> None:
    keys = [each["with"]["key"] for each in steps(ACTIONS[0]) if "key" in each.get("with", {})]
    assert len(keys) == 2
    assert all("${{ steps.locks.outputs.digest }}" in key for key in keys)
    assert "hashFiles(" not in ACTIONS[0].read_text()
    (tmp_path / "tool/.github/actions/setup").mkdir(parents=True)
    (tmp_path / "tool/standin.lock").write_text("board")
    found = []
    for name, lock in (("empty", ""), ("mine", "1"), ("other", "1"), ("moved", "2")):
        (tmp_path / name).mkdir()
        if lock:
            (tmp_path / name / "recipe.lock").write_text(lock)
        found.append(run_action_step("Which inputs", tmp_path / name)["digest"])
    (tmp_path / "tool/standin.lock").write_text("another board")
    found.append(run_action_step("Which inputs", tmp_path / "mine")["digest"])
    empty, mine, other, moved, another = found
    assert all(re.fullmatch("[0-9a-f]{64}", each) for each in found)
    assert mine == other
    assert len({empty, mine, moved, another}) == 4


def test_the_folders_of_the_runners_home_stay_the_runners(tmp_path: Path) -> None:
    """Root would make them for itself, and what comes after in the job could not write there."""
    workspace = tmp_path / "work"
    workspace.mkdir()
    run_action_step("The command", workspace, AS_ROOT="true", NIX_CACHE="false")
    home = tmp_path / "work.temp"
    assert all((home / name).is_dir() for name in (".cache", ".config", ".local/state"))


def test_a_runner_that_is_not_debian_is_told_where_debian_is(tmp_path: Path) -> None:
    name = "Debian's archives, where this runner is not Debian"
    default = load(ACTIONS[0])["inputs"]["debian-sources"]["default"]
    assert ROOT / default == SOURCES
    workspace = tmp_path / "work"
    workspace.mkdir()
    assert not run_action_step(name, workspace, SOURCES=default)
    (workspace / default).parent.mkdir()
    (workspace / default).write_text("Types: deb\n")
    told = run_action_step(name, workspace, SOURCES=default)
    assert Path(told["EDGE_BUILDKIT_APT_SOURCES"]).read_text() == "Types: deb\n"


def test_githubs_own_token_is_never_sent_without_tls() -> None:
    """A registry without TLS is not GitHub's, and anybody on the way could read it."""
    found = []
    for file in WORKFLOWS:
        for job in load(file)["jobs"].values():
            for place in (job, *job.get("steps", [])):
                found += [
                    value
                    for name, value in place.get("env", {}).items()
                    if name.startswith("EDGE_BUILDKIT_REGISTRY_")
                ]
    assert len(found) == 8
    assert all("|| vars.REGISTRY_PLAIN_HTTP != 'true' && github." in value for value in found)


def test_what_a_browser_showed_is_kept_for_the_reviewers_eye() -> None:
    job = load(FORGE / "workflows/pull-request.yml")["jobs"]["check"]["steps"]
    look, keep = job[-2:]
    assert "tests/integration/test_audit_report.py" in look["run"]
    assert keep["uses"].startswith("actions/upload-artifact@")
    assert keep["if"] == "always()"
    assert keep["with"]["path"] == look["env"]["EDGE_BUILDKIT_SCREENSHOTS"]
    assert int(keep["with"]["retention-days"]) <= 7


def test_what_can_be_set_is_explained() -> None:
    text = (ROOT / "docs/ci.md").read_text()
    said = "".join(file.read_text() for file in (*WORKFLOWS, *ACTIONS))
    names = set(re.findall(r"(?:vars|secrets)\.([A-Z_]+)", said))
    names |= load(ACTIONS[0])["inputs"].keys()
    names |= load(FORGE / "workflows/build-recipe.yml")["on"]["workflow_call"]["inputs"].keys()
    assert not [name for name in sorted(names) if f"`{name}`" not in text]
    assert f"`{SOURCES.relative_to(ROOT)}`" in text


def snippets() -> Iterator[list[dict[str, Any]]]:
    """The steps of each job that the documents show."""
    for file in sorted((ROOT / "docs").glob("*.md")):
        for block in re.findall(r"^```yaml\n(.*?)^```", file.read_text(), re.MULTILINE | re.DOTALL):
            document = yaml.load(block, Loader=yaml.BaseLoader)  # noqa: S506 - safe
            if isinstance(document, list):
                yield document
            for job in document.get("jobs", {}).values() if isinstance(document, dict) else ():
                yield job.get("steps", [])


def test_what_the_documents_show_builds_as_root() -> None:
    """A hosted runner is a plain user, and the engine needs root: the action gives it."""
    building = 0
    for found in snippets():
        root = ""
        for step in found:
            if "/.github/actions/setup@" in step.get("uses", ""):
                root = step["with"]["root"]
            if re.search(r"\b(build|rebuild|standin start)\b", step.get("run", "")):
                building += 1
                assert step["run"].startswith("edge-buildkit "), step
                assert root == "true", step
    assert building == 3


JOB = """\
on: {event}
permissions: {permissions}
jobs:
  a:
    runs-on: ubuntu-24.04
    permissions: {may}
    steps:
      - {step}
"""
FAIR = {"event": "push", "permissions": "{}", "may": "{}", "step": "run: 'true'"}
BROKEN = {
    "a key that there is none of": ("check", {"step": "runs: 'true'"}),
    "a permission that there is none of": ("check", {"may": "{content: read}"}),
    "words of others in a script": (
        "zizmor",
        {"event": "issues", "step": "run: echo ${{ github.event.issue.title }}"},
    ),
    "an action by its tag": ("zizmor", {"step": "uses: somebody/something@v1"}),
    "everything allowed": ("zizmor", {"may": "write-all"}),
    "forks with secrets": ("zizmor", {"event": "pull_request_target"}),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_workflow_is_found_out(what: str, tmp_path: Path) -> None:
    tool, change = BROKEN[what]
    file = tmp_path / ".github/workflows/broken.yml"
    file.parent.mkdir(parents=True)
    file.write_text(JOB.format(**{**FAIR, **change}))
    done = zizmor(file) if tool == "zizmor" else check("github-workflows", file)
    assert done.returncode not in {0, 2}, done.stdout + done.stderr


def test_one_that_is_not_broken_is_none(tmp_path: Path) -> None:
    file = tmp_path / ".github/workflows/fair.yml"
    file.parent.mkdir(parents=True)
    file.write_text(JOB.format(**FAIR))
    assert zizmor(file).returncode == check("github-workflows", file).returncode == 0


def test_an_unquoted_word_in_a_script_is_found_out() -> None:
    assert "SC2086" in shellcheck("rm -rf $RUNNER_TEMP/store").stdout


# ---- what the summary says


def program(name: str) -> ModuleType:
    loader = SourceFileLoader(name.replace("-", "_"), str(BIN / name))
    spec = spec_from_loader(loader.name, loader)
    assert spec
    module = module_from_spec(spec)
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = before
    return module


def row(**more: Any) -> dict[str, Any]:
    plain = {"name": "accuracy", "value": "98.2 %", "baseline": "", "limit": "95 %"}
    return {**plain, "outcome": "PASS", **more}


def test_the_summary_has_a_row_for_each_measurement(capsys: pytest.CaptureFixture[str]) -> None:
    finding = {"rule": "x", "outcome": "FAIL", "blame": "artifact", "message": "too slow"}
    trial: dict[str, Any] = {"device": "shelf-1", "target": "pi5", "outcome": "FAIL"}
    trial |= {"marks": ["an <b>emulated</b> board"], "findings": [finding]}
    trial |= {"rows": [row(), row(name="p|95", outcome=None)]}
    program("smoke-summary").main({"ref": "digits:1", "outcome": "FAIL", "trials": [trial]})
    said = capsys.readouterr().out
    assert "### digits:1: FAIL" in said
    assert "| accuracy | 98.2 % |  | 95 % | PASS |" in said
    # A device's words make neither a column nor a page of their own.
    assert "| p&#124;95 |" in said
    assert "&#60;b&#62;emulated" in said
    assert "- FAIL: too slow" in said


@pytest.mark.parametrize("document", [{}, {"error": "no such device", "kind": "InputError"}])
def test_the_summary_of_nothing_is_no_verdict(
    document: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    program("smoke-summary").main(document)
    assert "### No verdict" in capsys.readouterr().out


# ---- what two machines made


def built(folder: Path, machine: str, image: str) -> dict[str, str]:
    place = folder / f"built-digits-{machine}"
    place.mkdir()
    result = {"image": {"digest": image}, "model_index": "sha256:m"}
    (place / "build.json").write_text(json.dumps(result))
    return {"recipe": "r.toml", "name": "digits", "version": "1", "architecture": machine}


def test_what_was_built_twice_goes_on_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "output"))
    rows = [built(tmp_path, machine, "sha256:i") for machine in ("arm64", "amd64")]
    assert program("compare-builds").main(tmp_path, rows) == 0
    name, _, value = (tmp_path / "output").read_text().partition("=")
    (found,) = json.loads(value)["include"]
    assert (name, found["digest"], found["artifact"]) == ("built", "sha256:i", "built-digits-amd64")
    assert capsys.readouterr().out.count("the same") == 2


def test_one_machine_alone_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "output"))
    assert program("compare-builds").main(tmp_path, [built(tmp_path, "amd64", "sha256:i")]) == 0
    assert "nothing to compare" in capsys.readouterr().out


def test_one_build_alone_has_no_folder_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """actions/download-artifact v8 lays a single artifact flat, also when asked by a pattern."""
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "output"))
    rows = [built(tmp_path, "amd64", "sha256:i")]
    (tmp_path / "built-digits-amd64/build.json").rename(tmp_path / "build.json")
    (tmp_path / "built-digits-amd64").rmdir()
    assert program("compare-builds").main(tmp_path, rows) == 0
    # Of two that were expected it may be either, so nothing was compared.
    (tmp_path / "output").unlink()
    rows.append({**rows[0], "architecture": "arm64"})
    assert program("compare-builds").main(tmp_path, rows) == 2
    assert not (tmp_path / "output").exists()


def test_two_recipes_of_one_name_are_not_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "output"))
    row = built(tmp_path, "amd64", "sha256:i")
    assert program("compare-builds").main(tmp_path, [row, {**row, "recipe": "other.toml"}]) == 2
    assert not (tmp_path / "output").exists()


def test_a_long_reason_does_not_cost_the_summary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """GitHub shows no summary above 1 MiB; the log has no such limit."""
    rows = [built(tmp_path, machine, f"sha256:{machine}") for machine in ("arm64", "amd64")]
    for row in rows:
        place = tmp_path / f"built-digits-{row['architecture']}"
        (place / "store").mkdir()
        subprocess.run(["tar", "-cf", place / "store.tar", "-C", place, "store"], check=True)
    why = tmp_path / "bin/edge-buildkit"
    why.parent.mkdir()
    why.write_text("#!/bin/sh\nyes ::error::é | head -n 150000\necho the end\n")
    why.chmod(0o755)
    monkeypatch.setenv("PATH", f"{why.parent}:{os.environ['PATH']}")
    assert program("compare-builds").main(tmp_path, rows) == 1
    said = capsys.readouterr()
    assert "**different**" in said.out
    assert len(said.out.encode()) < 1 << 20
    assert "the end" not in said.out
    assert "all of it is in the log" in said.out
    assert "| the end" in said.err
    # Nothing that was built speaks to the runner; only we do.
    (command,) = [line for line in said.err.splitlines() if line.lstrip().startswith("::")]
    assert command.startswith("::error title=Not reproducible::digits")


def test_a_build_that_is_missing_is_no_agreement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "output"))
    rows = [built(tmp_path, "amd64", "sha256:i")]
    rows.append({**rows[0], "architecture": "arm64"})
    assert program("compare-builds").main(tmp_path, rows) == 2
    assert not (tmp_path / "output").exists()


# ---- what a device is told


def test_what_a_device_is_told_is_forgotten_and_nothing_else(tmp_path: Path) -> None:
    rows = [{"digest": f"sha256:{each}", "size": 1} for each in "abc"]
    (tmp_path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": rows}))
    (tmp_path / "signed.json").write_text(json.dumps({"referrers": ["sha256:b"]}))
    program("forget-referrers").main(tmp_path, tmp_path / "signed.json")
    left = json.loads((tmp_path / "index.json").read_text())
    assert left == {"schemaVersion": 2, "manifests": [rows[0], rows[2]]}
