"""A headless Chromium for tests, driven over the DevTools protocol by a pipe; nothing but the browser is needed."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["Browser", "browser", "find_chromium"]


def find_chromium() -> str | None:
    """The Chromium to test in: that of CURRICULUM_ZOO_TEST_CHROMIUM, else the first on the path."""
    names = (os.environ.get("CURRICULUM_ZOO_TEST_CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if name and (path := shutil.which(name))), None)


class Browser:
    """One tab, and everything that it reported."""

    def __init__(self, write: Any, read: Any) -> None:
        self._write, self._read = write, read
        self._number = 0
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        target = self("Target.createTarget", url="about:blank")["targetId"]
        self._session = self("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self(f"{domain}.enable")

    def __call__(self, method: str, **parameters: Any) -> Any:
        """Send a command, and return its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        self._write.write(
            json.dumps(message | ({"sessionId": self._session} if self._session else {})).encode() + b"\0"
        )
        self._write.flush()
        while (answer := self._next()).get("id") != self._number:
            self.events.append(answer)
        assert "error" not in answer, (method, answer)
        return answer["result"]

    def _next(self) -> dict[str, Any]:
        parts = bytearray()
        while (byte := self._read.read(1)) != b"\0":
            assert byte, "the browser ended"
            parts += byte
        return json.loads(parts)

    def open(self, page: Path | str, *, width: int, height: int = 800, dark: bool = False) -> None:
        """Open a file or an address at a size in CSS pixels, in light or dark mode."""
        self.events.clear()
        options = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self("Emulation.setDeviceMetricsOverride", **options)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self("Emulation.setEmulatedMedia", features=[scheme])
        url = page.resolve().as_uri() if isinstance(page, Path) else page
        self("Page.navigate", url=url)
        deadline = time.monotonic() + 30
        while self.js("document.readyState + location.protocol") != f"complete{url.partition(':')[0]}:":
            assert time.monotonic() < deadline, "the page does not load"
            time.sleep(0.05)

    def upload(self, file: Path) -> None:
        """Choose a file in the page's first field for files."""
        root = self("DOM.getDocument")["root"]["nodeId"]
        field = self("DOM.querySelector", nodeId=root, selector="input[type=file]")["nodeId"]
        self("DOM.setFileInputFiles", nodeId=field, files=[str(file.resolve())])

    def wait_for(self, expression: str, seconds: float = 60) -> None:
        """Wait until an expression is true in the page."""
        deadline = time.monotonic() + seconds
        while not self.js(f"Boolean({expression})"):
            assert time.monotonic() < deadline, (expression, self.js("document.body.innerText"))
            time.sleep(0.1)

    def js(self, expression: str) -> Any:
        """The value of an expression, awaited."""
        options = {"returnByValue": True, "awaitPromise": True}
        found = self("Runtime.evaluate", expression=expression, **options)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def complaints(self) -> list[str]:
        """Console errors and warnings, uncaught errors, and log entries, a refused request among them."""
        wanted = ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled")
        return [json.dumps(event["params"]) for event in self.events if event.get("method") in wanted]

    def requests(self) -> list[str]:
        """Addresses that the page asked for, data within itself left out."""
        asked = (e["params"]["request"]["url"] for e in self.events if e.get("method") == "Network.requestWillBeSent")
        return [url for url in asked if not url.startswith("data:")]

    def screenshot(self, path: Path) -> None:
        """The whole page as PNG."""
        picture = self("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(picture["data"]))


@contextlib.contextmanager
def browser(chromium: str) -> Iterator[Browser]:
    """Start a browser, and end it on leaving. It reads its commands from descriptor 3 and answers on 4."""
    (their_read, write), (read, their_write) = os.pipe(), os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-pipe"]
        flags += ["--no-first-run", "--disable-background-networking", f"--user-data-dir={profile}"]
        # A shell puts the two descriptors where the browser looks for them.
        script = f'exec "$0" "$@" 3<&{their_read} 4>&{their_write}'
        process = subprocess.Popen(
            ["bash", "-c", script, chromium, *flags],
            pass_fds=(their_read, their_write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(their_read)
        os.close(their_write)
        with os.fdopen(write, "wb") as to, os.fdopen(read, "rb") as from_:
            try:
                tab = Browser(to, from_)
                yield tab
                tab._session = None
                tab("Browser.close")
            finally:
                try:
                    process.wait(timeout=10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
