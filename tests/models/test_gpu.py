"""Workers on a real GPU, where this machine has one. Elsewhere devices are simulated, by their
names: see test_own_workers.py and test_batches.py."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest


def count_gpus() -> int:
    """How many GPUs the driver of CUDA finds, in this process."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int()
    if cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(count)):
        return 0
    return count.value


pytestmark = pytest.mark.skipif(
    count_gpus() == 0, reason="this machine has no GPU that the driver of CUDA finds"
)

ON_THE_GPU = """
import ctypes, os
import pyarrow as pa

OUT_OF_MEMORY = 2

class Gpu:
    # Speaks to the driver itself, so that no framework is needed.

    def __init__(self, device):
        self.device = device
        self.cuda = ctypes.CDLL("libcuda.so.1")
        self.ask("cuInit", 0)
        count = ctypes.c_int()
        self.ask("cuDeviceGetCount", ctypes.byref(count))
        self.sees = count.value
        self.gpu, self.context = ctypes.c_int(), ctypes.c_void_p()
        self.ask("cuDeviceGet", ctypes.byref(self.gpu), 0)
        self.ask("cuDevicePrimaryCtxRetain", ctypes.byref(self.context), self.gpu)
        self.ask("cuCtxSetCurrent", self.context)
        free, whole = ctypes.c_size_t(), ctypes.c_size_t()
        self.ask("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(whole))
        self.whole = whole.value

    def ask(self, name, *arguments):
        code = getattr(self.cuda, name)(*arguments)
        if code == OUT_OF_MEMORY:
            raise RuntimeError("CUDA out of memory")
        if code:
            raise RuntimeError(f"{name}: {code}")

    def pass_through(self, data, room):
        # The bytes as they come back from the memory of the GPU.
        place, back = ctypes.c_uint64(), ctypes.create_string_buffer(len(data))
        self.ask("cuMemAlloc_v2", ctypes.byref(place), ctypes.c_size_t(max(room, len(data))))
        try:
            self.ask("cuMemcpyHtoD_v2", place, data, ctypes.c_size_t(len(data)))
            self.ask("cuMemcpyDtoH_v2", back, place, ctypes.c_size_t(len(data)))
        finally:
            self.ask("cuMemFree_v2", place)
        return back.raw

class One(Gpu):
    def __call__(self, number):
        data = b"item %d" % number
        return {"back": self.pass_through(data, 0).decode(), "device": self.device,
                "sees": self.sees, "process": os.getpid()}

class Many(Gpu):
    def __call__(self, table):
        # All eight together need twice the memory that there is.
        room = 2 * self.whole if table.num_rows == 8 else 1 << 20
        self.pass_through(b"batch", room)
        return table.append_column("together", pa.array([table.num_rows] * table.num_rows))
"""


def test_a_worker_computes_on_its_own_gpu_alone(job: Any) -> None:
    job.write(
        ON_THE_GPU
        + """
pipeline = batten.from_range(20).map(One, devices=1).write_parquet("out/")
"""
    )
    done = job.run("--jobs", "2")
    assert done.code == 0, done.err
    rows = job.rows()
    assert [row["back"] for row in rows] == [f"item {number}" for number in range(20)]
    assert {(row["device"], row["sees"]) for row in rows} == {("cuda:0", 1)}
    assert len({row["process"] for row in rows}) == 1


def test_a_batch_for_which_the_gpu_has_no_memory_is_halved(job: Any) -> None:
    job.write(
        ON_THE_GPU
        + """
pipeline = (
    batten.from_range(8).map(lambda number: {"number": number})
    .map_batches(Many, items=8, devices=1).write_parquet("out/")
)
"""
    )
    done = job.run("--jobs", "1")
    assert done.code == 0, done.err
    assert [row["together"] for row in job.rows()] == [4] * 8
