"""Parts of 8 MiB into a bucket of SeaweedFS, against writing them bare with the same client; and
how many requests a batch takes that change something."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import obstore
from obstore.store import from_url

from batten.crashlab.servers.object_relay import ObjectRelay
from batten.crashlab.servers.object_server import BUCKET, ObjectStoreServer
from batten.storage.staged_here import FOLDER_VARIABLE
from batten.storage.twin.fates import Fate
from benchmarks.measure import BATTEN, ENVIRONMENT, PYTHON, Figure, Side, compare, put_job, run

BATCHES = 24
"""192 MiB."""


def measure(folder: Path, runs: int) -> list[Figure]:
    with ObjectStoreServer() as server, ExitStack() as stack:
        put_environment(stack, {**server.environment(), FOLDER_VARIABLE: str(folder / "staged")})
        ours = Side(
            command=_command(folder, "ours", BATCHES), folder=folder, reset=_emptied(server, "ours")
        )
        by_hand = put_job("bucket_by_hand.py", folder).name
        theirs = Side(
            command=[PYTHON, by_hand, f"s3://{BUCKET}/theirs", str(BATCHES)],
            folder=folder,
            reset=_emptied(server, "theirs"),
        )
        what = (
            f"{BATCHES} parts of 8 MiB, whole command, divided by a loop that makes and puts them"
        )
        return [compare(ours, theirs, runs).figure(what, "1.15"), _count(folder, server, stack)]


def _command(folder: Path, name: str, batches: int) -> list[str]:
    job = put_job("bucket.py", folder).name
    parameters = ("--param", f"address=s3://{BUCKET}/{name}/rows", "--param", f"batches={batches}")
    return [BATTEN, "run", job, *parameters, "--jobs", "1", "--quiet"]


def _count(folder: Path, server: ObjectStoreServer, stack: ExitStack) -> Figure:
    """Of further batches: what a run of more takes beyond one of fewer."""
    counts = []
    for batches in (4, 8):
        with ObjectRelay(server.port, lambda _: Fate.DONE) as relay:
            put_environment(stack, server.environment(relay.port))
            run(Side(command=_command(folder, f"counted-{batches}", batches), folder=folder))
            counts.append(sum(request.is_change for request in relay.requests))
    return Figure(
        what="requests a batch that change something",
        figure=f"{(counts[1] - counts[0]) / 4:.2f}",
        limit="3",
        basis=f"{counts[0]} with 4 batches, {counts[1]} with 8",
    )


def _emptied(server: ObjectStoreServer, name: str) -> Callable[[], None]:
    def empty() -> None:
        store = from_url(
            f"s3://{BUCKET}/{name}",
            endpoint=f"http://127.0.0.1:{server.port}",
            access_key_id="any",
            secret_access_key="any",
            region="us-east-1",
            client_options={"allow_http": True},
        )
        for page in obstore.list(store):
            obstore.delete(store, [each["path"] for each in page])

    return empty


def put_environment(stack: ExitStack, more: dict[str, str]) -> None:
    """Into that of all that is started, until the end."""
    for name in more:
        stack.callback(ENVIRONMENT.pop, name, None)
    ENVIRONMENT.update(more)
