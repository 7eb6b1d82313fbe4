"""Settings for every test."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

# Before anything imports it: official builds of ONNX Runtime report to their maker unless told not
# to, and leave files in the home of whoever runs the tests.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

# The machines are shared: how long one example takes says nothing. Every run draws the same
# examples, so that what it says is about the change and not about luck; `--hypothesis-profile=new`
# draws others.
settings.register_profile(
    "shared",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=True,
)
settings.register_profile("new", settings.get_profile("shared"), derandomize=False)
settings.load_profile("shared")

# The tests cut lines, kill processes and fill disks on a shared machine. What fails gets a second
# try (`--reruns`), and the summary tells; but of a change that is good, not more than this.
_MOST_AGAIN = 2


def _unstable(config: pytest.Config) -> list[pytest.TestReport]:
    """Reports of what failed once, in the process that has the reports of all."""
    reporter: TerminalReporter | None = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or hasattr(config, "workerinput"):
        return []
    return list(reporter.stats.get("rerun", []))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Too many second tries are a failure too."""
    if len(_unstable(session.config)) > _MOST_AGAIN and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Say which tests are unstable and why, and whether they are too many."""
    found = _unstable(terminalreporter.config)
    if found:
        terminalreporter.section("unstable", red=len(found) > _MOST_AGAIN, bold=True)
        for each in found:
            terminalreporter.write_line(f"failed at the first try: {each.nodeid} ({each.when})")
            terminalreporter.write_line(each.longreprtext)
        if len(found) > _MOST_AGAIN:
            terminalreporter.write_line(f"more than {_MOST_AGAIN}: this run has failed")
