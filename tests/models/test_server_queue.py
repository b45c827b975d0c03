"""A model server with a queue that fills: no more calls are in flight than it works on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from batten.crashlab.servers.ports import find_ports

SLOTS = 4
CONCURRENCY = 40
ITEMS = 80

SERVER = """
import asyncio, json, sys

port, dialect, slots, fills = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
queue, held, peaks, served = [], 0, [], 0
TEXTS = {
    "vllm": '# HELP vllm:num_requests_waiting Number of requests waiting to be processed.\\n'
    '# TYPE vllm:num_requests_waiting gauge\\n'
    'vllm:num_requests_waiting{engine="0",model_name="m"} %.1f\\n'
    'vllm:num_requests_running{engine="0",model_name="m"} %.1f\\n',
    "llamacpp": '# HELP llamacpp:requests_deferred Number of requests deferred.\\n'
    '# TYPE llamacpp:requests_deferred gauge\\n'
    'llamacpp:requests_deferred %d\\nllamacpp:requests_processing %d\\n',
}

def tell_queue():
    # Each look lets those through that are worked on, once the queue was full.
    global served
    waiting = max(0, len(queue) - slots)
    if served or len(queue) >= fills:
        for answer in queue[:slots]:
            answer.set_result(None)
        served += len(queue[:slots])
        del queue[:slots]
    return TEXTS[dialect] % (waiting, slots)

async def work(path):
    answer = asyncio.get_running_loop().create_future()
    queue.append(answer)
    peaks.append((served, len(queue)))
    await answer
    with open("peaks", "w") as file:
        json.dump(peaks, file)
    return json.dumps({"text": path})

async def serve(reader, writer):
    try:
        while True:
            path = (await reader.readuntil(b"\\r\\n\\r\\n")).decode().split()[1]
            if path == "/metrics":
                body = tell_queue()
            else:
                body = "ok" if path == "/health" else await work(path)
            head = "HTTP/1.1 200 OK\\r\\ncontent-length: %d\\r\\n\\r\\n" % len(body)
            writer.write((head + body).encode())
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()

async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", port)
    await server.serve_forever()

asyncio.run(main())
"""

JOB = """
import asyncio, sys

server = batten.ModelServer(
    command=[sys.executable, "server.py", "{port}", "{dialect}", "{slots}", "{concurrency}"],
    url="http://127.0.0.1:{port}",
)

async def ask(number):
    reader, writer = await asyncio.open_connection("127.0.0.1", {port})
    try:
        writer.write(b"GET /%d HTTP/1.1\\r\\n\\r\\n" % number)
        answer = await reader.read(4096)
        return {{"answer": answer.split(b"\\r\\n\\r\\n")[1].decode()}}
    finally:
        writer.close()

pipeline = (
    batten.from_range({items})
    .map(ask, concurrency={concurrency}, server=server)
    .write_parquet("out/")
)
"""


@pytest.mark.parametrize("dialect", ["vllm", "llamacpp"])
def test_no_more_calls_wait_once_the_queue_was_seen(dialect: str, job: Any) -> None:
    """It fills once, as nothing is known of it, and never again."""
    (job.path / "server.py").write_text(SERVER)
    given = {"port": find_ports(1)[0], "dialect": dialect, "slots": SLOTS}
    done = job.write(JOB.format(items=ITEMS, concurrency=CONCURRENCY, **given)).run()
    assert done.code == 0, done.err
    assert len(job.rows()) == ITEMS
    peaks = json.loads((job.path / "peaks").read_text())
    assert max(most for served, most in peaks if not served) == CONCURRENCY
    later = [most for served, most in peaks if served >= CONCURRENCY]
    assert later
    assert max(later) <= CONCURRENCY // 2
