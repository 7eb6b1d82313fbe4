"""The audit report, looked at in a real browser: on a screen, a phone and paper, light and dark.

The screenshots are for the reviewer's eye: in the folder that EDGE_BUILDKIT_SCREENSHOTS names, else
in that of the test run.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from browser import browser

sys.path.append(str(Path(__file__).parents[1] / "unit/audit"))
sys.path.append(str(Path(__file__).parents[1] / "unit/markup"))

from page_parts import HOSTILE
from report_world import NOW, artifact, hostile, report

from buildkit.audit.report.page import html
from buildkit.audit.report.types import Report

if TYPE_CHECKING:
    from collections.abc import Iterator

    from browser import Browser, Page
    from real_project import Project

WIDE, NARROW, PAPER = 1280, 375, 794
_UNFOLD = "document.querySelectorAll('details').forEach(each => { each.open = true })"
_AXE = """axe.run(document, {resultTypes: ['violations']}).then(found => JSON.stringify(
    found.violations.map(each => [each.id, each.help, each.nodes.slice(0, 3).map(n => n.html)])))"""


@dataclass(frozen=True)
class Looked:
    """What was seen of a page in one window."""

    complaints: list[str]
    requests: list[str]
    overflow: int
    barriers: list[Any]


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("browser")) as found:
        yield found


@pytest.fixture(scope="module")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = Path(os.environ.get("EDGE_BUILDKIT_SCREENSHOTS") or tmp_path_factory.mktemp("shots"))
    found.mkdir(parents=True, exist_ok=True)
    return found


@pytest.fixture(scope="module")
def axe() -> str:
    """Deque's accessibility checks, as the package on the index carries them."""
    return (resources.files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8")


def written(folder: Path, found: Report) -> Path:
    file = folder / "report.html"
    file.write_text(html(found, at=NOW), encoding="utf-8")
    return file


def look(page: Page, axe: str) -> Looked:
    """Unfold all of a page that was opened, and look at it."""
    page.ask(_UNFOLD)
    page.ask(axe)
    barriers = json.loads(page.ask(_AXE))
    overflow = page.ask("document.documentElement.scrollWidth - window.innerWidth")
    return Looked(page.complaints(), page.requests(), overflow, barriers)


def check(window: Browser, file: Path, axe: str, shots: Path, name: str) -> None:
    """A page in a wide and a narrow window, light and dark, and on paper."""
    for width, dark in ((WIDE, False), (WIDE, True), (NARROW, False)):
        page = window.page(width=width, dark=dark)
        page.open(file)
        page.screenshot(shots / f"{name}-{width}{'-dark' if dark else ''}.png")
        seen = look(page, axe)
        page.close()
        assert seen == Looked([], [file.as_uri()], 0, []), (name, width, dark)
    page = window.page(width=PAPER)
    page.open(file)
    printed = page.pdf()
    page.call("Emulation.setEmulatedMedia", {"media": "print"})
    page.screenshot(shots / f"{name}-print.png")
    page.close()
    (shots / f"{name}.pdf").write_bytes(printed)
    assert printed.startswith(b"%PDF-")
    assert printed.count(b"/Type /Page\n") >= 2


def test_a_report_in_which_everything_is_shown(
    window: Browser, axe: str, shots: Path, tmp_path: Path
) -> None:
    check(window, written(tmp_path, report()), axe, shots, "full")


def test_a_hostile_report(window: Browser, axe: str, shots: Path, tmp_path: Path) -> None:
    file = written(tmp_path, hostile(*HOSTILE))
    for width in (WIDE, NARROW):
        page = window.page(width=width)
        page.open(file)
        page.screenshot(shots / f"hostile-{width}.png")
        assert page.ask("document.title").startswith("Audit of ")
        assert page.ask("document.querySelectorAll('script, img, iframe').length") == 0
        seen = look(page, axe)
        page.close()
        assert seen == Looked([], [file.as_uri()], 0, []), width


def test_a_report_of_which_nothing_is_known(
    window: Browser, axe: str, shots: Path, tmp_path: Path
) -> None:
    page = window.page(width=NARROW)
    file = written(tmp_path, Report(top=artifact("image")))
    page.open(file)
    seen = look(page, axe)
    page.screenshot(shots / "empty-375.png")
    page.close()
    assert seen == Looked([], [file.as_uri()], 0, [])


def test_what_would_be_wrong_is_seen(window: Browser, axe: str, tmp_path: Path) -> None:
    """Else an eye that is shut would pass every page."""
    file = written(tmp_path, report())
    wrong = (
        '<script>alert(1)</script><img src="http://127.0.0.1:9/x"><p style="width:3000px">x</p>'
        '<p class="pale">pale</p><style>.pale { color: #ddd; background: #fff }</style>'
    )
    file.write_text(file.read_text().replace("</main>", f"{wrong}</main>"))
    page = window.page(width=NARROW)
    page.open(file)
    seen = look(page, axe)
    page.close()
    assert sum("Content Security Policy" in each for each in seen.complaints) >= 2
    assert seen.requests == [file.as_uri(), "http://127.0.0.1:9/x"]
    assert {each[0] for each in seen.barriers} >= {"image-alt", "color-contrast"}
    wide = tmp_path / "wide.html"
    wide.write_text(
        '<!DOCTYPE html><meta name="viewport" content="width=device-width">'
        '<img src="other.png"><div style="width:3000px">x</div>'
    )
    page = window.page(width=NARROW)
    page.open(wide)
    seen = look(page, axe)
    page.close()
    assert seen.overflow > 0
    assert len(seen.requests) == 2
    assert seen.complaints


@pytest.mark.nix
def test_the_report_of_a_real_build(
    digits: Project, window: Browser, axe: str, shots: Path, tmp_path: Path
) -> None:
    file = tmp_path / "digits.html"
    index = tmp_path / "audit.sqlite"
    digits.cli("audit", "report", "digits:1.0.0", "--html", file, "--index", index)
    check(window, file, axe, shots, "digits")
    text = file.read_text()
    assert "static-int8" in text
    assert "98." in text
    assert "No evidence about it was refused." in text
