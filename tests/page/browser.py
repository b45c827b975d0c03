"""A headless Chromium, spoken to through a pipe. It is the one that BATTEN_BROWSER names, or one on
the path, or the one that tools/browser.sh has put into the environment."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

_NAMES = (
    *("chromium-headless-shell", "chrome-headless-shell", "headless_shell", "chromium"),
    *("chromium-browser", "google-chrome", "google-chrome-stable"),
)
OBSTACLE = (
    "no headless Chromium: apt-get install chromium-headless-shell, or tools/browser.sh where npm "
    "is, or name one in BATTEN_BROWSER"
)
PATIENCE_SECONDS = 120.0


def find_browser() -> list[str] | None:
    """The words that start it, or None. What only says how to install one is none."""
    found = _find_named()
    if found is None:
        return None
    libraries = {"LD_LIBRARY_PATH": f"{Path(found[0]).parent}/lib"}
    tried = subprocess.run(
        [*found, "--version"],
        env=os.environ | libraries,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    return found if tried.returncode == 0 else None


def _find_named() -> list[str] | None:
    if named := os.environ.get("BATTEN_BROWSER"):
        return [named]
    if own := next(filter(None, map(shutil.which, _NAMES)), None):
        return [own]
    folder = Path(sys.prefix) / "browser"
    return [str(folder / "chromium")] if (folder / "ready").exists() else None


def _find_letters(fonts: Path, profile: Path) -> dict[str, str]:
    """Where the fonts are that came with the browser: what else tells of them names places of the
    machine that they were packed for. Without fonts no text takes any room."""
    if not fonts.is_dir():
        return {}
    profile.mkdir(exist_ok=True)
    told = profile / "fonts.conf"
    folders = f"<dir>{escape(str(fonts))}</dir><cachedir>{escape(str(profile))}</cachedir>"
    told.write_text(f"<fontconfig>{folders}</fontconfig>")
    return {"FONTCONFIG_FILE": str(told)}


class Browser:
    """One page in one browser. Its script is for tests alone: the page has none."""

    def __init__(self, words: list[str], profile: Path) -> None:
        ours_read, theirs_write = os.pipe()
        theirs_read, ours_write = os.pipe()
        folder = Path(words[0]).parent
        # The descriptors of --remote-debugging-pipe are 3 and 4.
        shell = f'exec "$0" "$@" 3<&{theirs_read} 4>&{theirs_write}'
        self._process = subprocess.Popen(
            [
                *("bash", "-c", shell, *words, "--headless", "--no-sandbox", "--no-zygote"),
                *("--remote-debugging-pipe", f"--user-data-dir={profile}", "--no-first-run"),
                *(
                    "--disable-gpu",
                    "--disable-dev-shm-usage",
                    "--disable-background-networking",
                    "about:blank",
                ),
            ],
            pass_fds=(theirs_read, theirs_write),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=os.environ
            | {"LD_LIBRARY_PATH": f"{folder}/lib", "HOME": str(profile)}
            | _find_letters(folder / "fonts", profile),
        )
        os.close(theirs_read)
        os.close(theirs_write)
        self._from, self._to = os.fdopen(ours_read, "rb"), os.fdopen(ours_write, "wb")
        self._number = 0
        self._session = ""
        self._rest = b""
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "Accessibility"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> Any:
        """What the browser answers."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._to.write(json.dumps(message).encode() + b"\0")
        self._to.flush()
        while True:
            told = self._read()
            if told.get("id") == self._number:
                assert "error" not in told, told
                return told["result"]

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            is_there = select.select([self._from], [], [], PATIENCE_SECONDS)[0]
            assert is_there, "the browser gives no answer"
            piece = os.read(self._from.fileno(), 1 << 16)
            assert piece, "the browser has ended"
            self._rest += piece
        data, _, self._rest = self._rest.partition(b"\0")
        told: dict[str, Any] = json.loads(data)
        if "method" in told:
            self.events.append(told)
        return told

    def open(self, address: str) -> None:
        """Returns when the page is there."""
        self.events.clear()
        self.call("Page.navigate", url=address)
        while not any(each["method"] == "Page.loadEventFired" for each in self.events):
            self._read()

    def show(self, *, width: int = 1100, scheme: str = "light", medium: str = "screen") -> None:
        """How wide it is, in which colours, on screen or on paper."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", media=medium, features=features)

    def run(self, script: str) -> Any:
        """What a script of the test's gives."""
        told = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    def press(self, key: str, code: int) -> None:
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                windowsVirtualKeyCode=code,
                text="\r" if key == "Enter" and kind == "keyDown" else "",
            )

    def list_requests(self) -> list[str]:
        """The addresses that the page asked for."""
        return [
            each["params"]["request"]["url"]
            for each in self.events
            if each["method"] == "Network.requestWillBeSent"
        ]

    def list_complaints(self) -> list[str]:
        """What the browser has against the page: what its policy forbids, errors of scripts."""
        told = [each for each in self.events if each["method"] == "Log.entryAdded"]
        return [each["params"]["entry"]["text"] for each in told]

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._from.close()
        self._to.close()
