"""Drives a headless Chromium over a pipe, by the DevTools protocol: no port, no network."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROGRAMS = ("chromium-headless-shell", "chromium")
_DEADLINE = 180.0
_FLAGS = (
    *("--headless", "--remote-debugging-pipe", "--disable-gpu", "--hide-scrollbars"),
    # In a container there is no other sandbox to be had, and the pages are our own.
    *("--no-sandbox", "--disable-dev-shm-usage"),
    # The browser itself must not ask anybody anything either.
    *("--disable-background-networking", "--disable-component-update", "--no-first-run"),
    *("--disable-sync", "--disable-extensions", "--host-resolver-rules=MAP * ~NOTFOUND"),
    "--force-color-profile=srgb",
)
# Chromium reads commands from descriptor 3 and answers on 4.
_START = (
    "import fcntl, os, sys; "
    "ends = [fcntl.fcntl(int(each), fcntl.F_DUPFD, 10) for each in sys.argv[1:3]]; "
    "os.dup2(ends[0], 3); os.dup2(ends[1], 4); os.execv(sys.argv[3], sys.argv[3:])"
)


class BrowserError(Exception):
    """The browser says no, or nothing."""


class Browser:
    """One process; `browser` starts and ends it."""

    def __init__(self, reads: int, writes: int) -> None:
        self._reads, self._writes = reads, writes
        self._rest = b""
        self._number = 0
        self._pages: dict[str, Page] = {}

    def page(self, *, width: int, height: int = 900, dark: bool = False) -> Page:
        """A new page with nothing in it, in a window of a size."""
        target = self.call("Target.createTarget", {"url": "about:blank"})["targetId"]
        session = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})
        page = Page(self, session["sessionId"], target)
        self._pages[session["sessionId"]] = page
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.call(f"{domain}.enable")
        page.call("Page.setLifecycleEventsEnabled", {"enabled": True})
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        page.call("Emulation.setDeviceMetricsOverride", size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        page.call("Emulation.setEmulatedMedia", {"features": [scheme]})
        return page

    def call(self, method: str, words: dict[str, Any] | None = None, session: str = "") -> Any:
        """Ask, and wait for the answer; what happens meanwhile goes to the pages."""
        self._number += 1
        number = self._number
        asked = {"id": number, "method": method, "params": words or {}}
        if session:
            asked["sessionId"] = session
        data = json.dumps(asked).encode() + b"\0"
        while data:
            data = data[os.write(self._writes, data) :]
        while True:
            found = self.hear(_DEADLINE, method)
            if found.get("id") == number:
                if "error" in found:
                    msg = f"{method}: {found['error']}"
                    raise BrowserError(msg)
                return found["result"]

    def hear(self, seconds: float, what: str) -> dict[str, Any]:
        """The next message; an event is also put down at its page."""
        until = time.monotonic() + seconds
        while b"\0" not in self._rest:
            left = until - time.monotonic()
            if left <= 0 or not select.select([self._reads], [], [], left)[0]:
                msg = f"{what}: no answer in {seconds:g} s"
                raise BrowserError(msg)
            data = os.read(self._reads, 1 << 20)
            if not data:
                msg = f"{what}: the browser has ended"
                raise BrowserError(msg)
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\0")
        found: dict[str, Any] = json.loads(line)
        page = self._pages.get(found.get("sessionId", ""))
        if page is not None and "method" in found:
            page.happened.append((found["method"], found["params"]))
        return found


class Page:
    """One tab, and all that happened in it."""

    def __init__(self, browser: Browser, session: str, target: str) -> None:
        self._browser, self._session, self._target = browser, session, target
        self.happened: list[tuple[str, dict[str, Any]]] = []

    def call(self, method: str, words: dict[str, Any] | None = None) -> Any:
        """A command of the protocol."""
        return self._browser.call(method, words, self._session)

    def open(self, file: Path) -> None:
        """Load a file, to its end."""
        # The empty page of a new window has a load event of its own, which may come late.
        loader = self.call("Page.navigate", {"url": file.as_uri()})["loaderId"]
        loaded = {"loaderId": loader, "name": "load"}
        while not any(
            name == "Page.lifecycleEvent" and loaded.items() <= words.items()
            for name, words in self.happened
        ):
            self._browser.hear(_DEADLINE, f"load {file}")

    def ask(self, expression: str) -> Any:
        """The value of a JavaScript expression, or of what it promises."""
        words = {"expression": expression, "returnByValue": True, "awaitPromise": True}
        found = self.call("Runtime.evaluate", words)
        if "exceptionDetails" in found:
            raise BrowserError(json.dumps(found["exceptionDetails"])[:2000])
        return found["result"].get("value")

    def screenshot(self, file: Path, *, top: float = 0, height: float | None = None) -> None:
        """The whole page, or a part of it."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": top, "width": size["width"], "scale": 1}
        clip["height"] = min(height or size["height"], 16_000)
        words = {"format": "png", "clip": clip, "captureBeyondViewport": True}
        file.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", words)["data"]))

    def pdf(self) -> bytes:
        """The page as it is printed on A4."""
        words = {"printBackground": False, "paperWidth": 8.27, "paperHeight": 11.69}
        return base64.b64decode(self.call("Page.printToPDF", words)["data"])

    def complaints(self) -> list[str]:
        """All that a developer would see in the console."""
        return [
            json.dumps(words)[:1000]
            for name, words in self.happened
            if name in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
        ]

    def requests(self) -> list[str]:
        """URLs of all that the page asked for, itself included."""
        return [
            words["request"]["url"]
            for name, words in self.happened
            if name == "Network.requestWillBeSent"
        ]

    def close(self) -> None:
        """Close the tab."""
        self._browser.call("Target.closeTarget", {"targetId": self._target})


def program() -> str:
    """The browser of this machine.

    Raises:
        BrowserError: there is none.
    """
    for name in PROGRAMS:
        if found := shutil.which(name):
            return found
    msg = f"no {' or '.join(PROGRAMS)}: requirements/system.toml names the package"
    raise BrowserError(msg)


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """A browser with a profile of its own below `folder`."""
    theirs, writes = os.pipe()
    reads, answers = os.pipe()
    words = [program(), *_FLAGS, f"--user-data-dir={folder}/profile"]
    with (folder / "browser.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _START, str(theirs), str(answers), *words],
            pass_fds=(theirs, answers),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, "HOME": str(folder)},
        )
    os.close(theirs)
    os.close(answers)
    found = Browser(reads, writes)
    try:
        yield found
    finally:
        with suppress(BrowserError, OSError):
            found.call("Browser.close")
        os.close(writes)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(reads)
