"""A headless Chromium driven in real time over the pipe of its DevTools protocol, which needs no library."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.search.browser import CHROMIUM

# What a browser does for itself, in the background, would be part of what is measured.
_FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
    --disable-component-update --disable-sync --remote-debugging-pipe --window-size=1440,1000"""
_POLL_SECONDS = 0.01


class Browser:
    """One fresh browser with an empty cache and one page, ready when it is entered.

    Args:
        width: Of the page in CSS pixels; a phone's is 390.
        is_dark: Whether its user prefers dark pages.

    Raises:
        RuntimeError: when the protocol or a script on the page complains.
        EOFError: when the browser has ended.
    """

    def __init__(self, *, width: int = 1440, is_dark: bool = False) -> None:
        self.width = width
        self.is_dark = is_dark
        self.complaints: list[dict[str, Any]] = []
        """What pages wrote to the console, and the errors of their scripts."""

    def __enter__(self) -> Browser:
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        commands, self._commands = os.pipe()
        self._replies, replies = os.pipe()
        # It reads commands on descriptor 3 and answers on 4; only a shell can put them there without a fork in Python.
        shell = f'exec "$0" "$@" 3<&{commands} 4>&{replies}'
        command = ["bash", "-c", shell, str(CHROMIUM), *_FLAGS.split(), f"--user-data-dir={self._profile.name}"]
        self._process = subprocess.Popen(command, pass_fds=(commands, replies), stderr=subprocess.DEVNULL)
        os.close(commands)
        os.close(replies)
        self._sent, self._unread = 0, b""
        self._page: dict[str, str] = {}
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._page = {"sessionId": self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]}
        size = {"width": self.width, "height": 1000, "deviceScaleFactor": 1, "mobile": self.width < 640}
        self._call("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if self.is_dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[scheme])
        for domain in ("Runtime", "Log"):
            self._call(f"{domain}.enable")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait()
        os.close(self._commands)
        os.close(self._replies)
        self._profile.cleanup()

    def seconds_until(self, condition: str, *, at: str, limit: float = 120.0) -> float:
        """How long it takes from going to the address ``at`` until a JavaScript expression holds on that page.

        Raises:
            TimeoutError: when it does not within ``limit`` seconds.
        """
        begun = time.perf_counter()
        self._call("Page.navigate", url=at)
        while not self.value(condition):
            if time.perf_counter() - begun > limit:
                raise TimeoutError(f"{at}: not true after {limit:g} s: {condition}")
            time.sleep(_POLL_SECONDS)
        return time.perf_counter() - begun

    def value(self, expression: str) -> Any:
        """What a JavaScript expression is on the page, as plain data."""
        found = self._call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in found:
            raise RuntimeError(f"{expression}: {found['exceptionDetails']}")
        return found["result"].get("value")

    def screenshot(self, path: Path) -> None:
        """The whole page as PNG, below the window's edge too."""
        path.write_bytes(base64.b64decode(self._call("Page.captureScreenshot", captureBeyondViewport=True)["data"]))

    def pdf(self, path: Path) -> None:
        """The page as it is printed on A4."""
        paper = {"paperWidth": 8.27, "paperHeight": 11.69, "printBackground": True}
        path.write_bytes(base64.b64decode(self._call("Page.printToPDF", **paper)["data"]))

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._sent += 1
        message = {"id": self._sent, "method": method, "params": parameters, **self._page}
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        # Events come in between.
        while (reply := self._next_message()).get("id") != self._sent:
            if reply.get("method") in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
                self.complaints.append(reply["params"])
        if "error" in reply:
            raise RuntimeError(f"{method}: {reply['error']}")
        return dict(reply["result"])

    def _next_message(self) -> dict[str, Any]:
        while b"\0" not in self._unread:
            read = os.read(self._replies, 1 << 20)
            if not read:
                raise EOFError(f"{CHROMIUM} ended. Start it by hand to see why.")
            self._unread += read
        message, self._unread = self._unread.split(b"\0", 1)
        return dict(json.loads(message))
