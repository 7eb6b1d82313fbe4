"""From a built store to a signed PASS on a board: over the line, out of a registry, again."""

from __future__ import annotations

import json
import os
import re
import signal
from typing import TYPE_CHECKING

import pytest
from registry_parts import serving
from trial_parts import HOST, ended, rules
from wrong_models import PI5

from buildkit.device import zips
from buildkit.evidence import kinds, referrers
from buildkit.evidence.referrers import Found
from buildkit.pipeline import candidate

if TYPE_CHECKING:
    from pathlib import Path

    from registry_parts import Tools
    from trial_parts import Bench

pytestmark = [pytest.mark.nix, pytest.mark.engine]

IMAGE = "digits:1.0.0"
POLICY = """\
schema = 1
[trust]
own_keys = true
[smoke]
targets = ["pi5"]
devices = 1
standins = {standins}
"""


def sizes(bench: Bench) -> dict[str, int]:
    """Digest → bytes of all that the board needs of image, model and evidence."""
    return {blob.digest: blob.size for blob in candidate.find(bench.store, IMAGE, PI5).blobs}


def hangs_on(bench: Bench, digest: str) -> dict[str, str]:
    """What is said about something: digest of a bundle → predicate type."""
    found = referrers.find(bench.store, digest)
    return {each.digest: each.announced for each in found if isinstance(each, Found)}


def requests(log: Path) -> list[str]:
    """Digests of all that a registry gave away, in order."""
    return re.findall(r'"GET \S+/(sha256:[0-9a-f]{64}) HTTP/1\.[01]" 200', log.read_text())


def test_over_the_line_to_a_signed_pass(bench: Bench, tmp_path: Path) -> None:
    bench.board.cli("device", "clean", bench.board.name, "--blobs")
    image, model = candidate.find(bench.store, IMAGE, PI5).subjects
    before = {each.digest: hangs_on(bench, each.digest) for each in (image, model)}
    page = tmp_path / "page.html"
    trial = bench.smoke(IMAGE, "--html", page, status=0)
    assert (trial["findings"], trial["attempts"]) == ([], 1)
    assert trial["brought_bytes"] == sum(sizes(bench).values()) + len(zips.smoke().data)
    assert "emulated" in trial["marks"][0]
    assert page.read_text().count("<html") == 1
    measured = {row["name"]: row for row in trial["rows"]}
    assert measured["accuracy"]["outcome"] == measured["peak memory"]["outcome"] == "PASS"
    assert measured["latency p50"]["outcome"] is None
    for subject in (image, model):
        new = hangs_on(bench, subject.digest).items() - before[subject.digest].items()
        # The device's own, the host's of the same, and the host's verdict.
        kept = sorted(kind for _, kind in new)
        assert kept == sorted(
            [*[kinds.TEST_RESULT.predicate_type] * 2, kinds.VERDICT.predicate_type]
        )
    policy = tmp_path / "policy.toml"
    verify = ("verify", IMAGE, "--policy", policy, "--json")
    policy.write_text(POLICY.format(standins="true"))
    held = json.loads(bench.project.cli(*verify).stdout)
    assert held["findings"] == []
    policy.write_text(POLICY.format(standins="false"))
    refused = json.loads(bench.project.cli(*verify, status=1).stdout)
    assert {each["reason"] for each in refused["findings"]} == {"smoke"}


def test_out_of_a_registry(bench: Bench, tools: Tools, tmp_path: Path) -> None:
    """One repository has image, model, golden data and what is said about them."""
    bench.board.cli("device", "clean", bench.board.name, "--blobs")
    with serving(tmp_path, bench.board.port) as address:
        for name in ("digits", "digits-model"):
            top = bench.store.resolve(f"{name}:1.0.0")
            tools.push(f"{bench.store.root}@{top.digest}", f"{address}/team/digits:{name}")
        by_others = len(requests(tmp_path / "log"))
        where = f"http://{HOST}:{bench.board.port}/team/digits"
        trial = bench.smoke(IMAGE, "--registry", where, status=0)
        given = requests(tmp_path / "log")[by_others:]
    wanted = sizes(bench)
    assert sorted(given) == sorted(wanted)
    # What is left for the line is the harness alone.
    assert trial["brought_bytes"] == sum(wanted.values()) + len(zips.smoke().data)


def test_a_throttled_attempt_is_made_again_and_nothing_is_brought_twice(bench: Bench) -> None:
    """Before it: the bit is set when the run begins, and gone when the next one does."""
    with bench.board.faulty("throttled", "0x50005"), bench.running(IMAGE) as process:
        bench.loading(process)
        bench.board.calm("throttled")
        trial = ended(process, status=0)
    assert (trial["attempts"], trial["findings"], trial["brought_bytes"]) == (2, [], 0)


def test_whoever_is_stopped_leaves_a_clean_board_and_the_next_run_passes(bench: Bench) -> None:
    for number in (signal.SIGINT, signal.SIGKILL):
        with bench.running(IMAGE) as process:
            bench.loading(process)
            os.kill(process.pid, number)
            stdout, stderr = process.communicate(timeout=120)
            assert stdout == ""
            assert "Traceback" not in stderr
            assert process.returncode == (130 if number is signal.SIGINT else -number)
        bench.board.idle()
    assert rules(bench.smoke(IMAGE, status=0)) == set()
