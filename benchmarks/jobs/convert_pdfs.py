"""Converts PDFs as the knowledge base does, in as many bare processes at once: EXAMPLE SHELF COUNT
PROCESSES. Each converts so many. Prints the seconds that it took until all had ended."""

import importlib
import os
import sys
import time
from pathlib import Path

example, shelf, count, processes = sys.argv[1:]
sys.path.insert(0, example)
convert = importlib.import_module("convert").convert
paths = sorted(Path(shelf).glob("*.pdf"))
began = time.perf_counter()
for number in range(int(processes)):
    if not os.fork():
        for path in paths[number * int(count) : (number + 1) * int(count)]:
            convert(path.read_bytes(), ".pdf")
        os._exit(0)
for _ in range(int(processes)):
    os.wait()
print(time.perf_counter() - began)
