"""`python -m benchmarks [NAME…]`: measures, and prints a table for each name."""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.measure import Figure

NAMES = (
    "startup",
    "trivial_items",
    "spawned_workers",
    "slow_items",
    "bucket_parts",
    "workers_anywhere",
    "workers_on_ray",
    "two_steps",
    "memory",
    "large_dataset",
    "grown_dataset",
    "large_page",
    "run_keys",
    "whole_tables",
    "syncs",
    "repeated_items",
    "cache_folders",
    "cache_values",
    "cache_sweep",
    "cache_sharing",
    "resume",
    "http_calls",
    "repeated_calls",
    "staged_calls",
    "transactions",
    "knowledge_base",
    "destinations",
    "topics",
    "small_files",
    "changed_records",
    "changed_files",
)
README = Path(__file__).with_name("README.md")
MARK = "<!-- measured: everything below is written by `python -m benchmarks --write` -->"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--runs", type=int, default=5, help="pairs of runs for each ratio")
    parser.add_argument("--write", action="store_true", help="put the tables into README.md")
    arguments = parser.parse_args()
    unknown = set(arguments.names).difference(NAMES)
    if unknown:
        parser.error(f"no benchmark is called {', '.join(sorted(unknown))}")
    texts = []
    for name in arguments.names or NAMES:
        began = time.monotonic()
        texts.append(measure(name, arguments.runs))
        # At once, so that one that fails takes no other along.
        print(f"{texts[-1]}\n", flush=True)
        print(f"{name} took {time.monotonic() - began:.0f} s", file=sys.stderr)
    texts.insert(0, describe_machine())
    print(texts[0])
    if arguments.write:
        about = README.read_text().partition(MARK)[0]
        README.write_text("\n\n".join([f"{about}{MARK}", *texts]) + "\n")


def measure(name: str, runs: int) -> str:
    """The table of one benchmark: a module of this package with `measure(folder, runs)`, which
    gives figures, and whose docstring is the heading."""
    module = importlib.import_module(f"benchmarks.{name}")
    with tempfile.TemporaryDirectory(prefix="batten-benchmark-") as folder:
        figures: list[Figure] = module.measure(Path(folder), runs)
    heading = " ".join((module.__doc__ or name).split()).rstrip(".")
    return f"### {heading}\n\n`python -m benchmarks {name}`\n\n{draw_table(figures)}"


def describe_machine() -> str:
    mebibytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
    return (
        f"{datetime.now(UTC):%Y-%m-%d}: {len(os.sched_getaffinity(0))} processors "
        f"({_find_processor()}), "
        f"{mebibytes / 1024:.0f} GiB of memory, Linux {platform.release()}, "
        f"Python {platform.python_version()}, pyarrow {version('pyarrow')}, "
        f"numpy {_find_version('numpy')}, pandas {_find_version('pandas')}. "
        f"Load when the last table was done: {os.getloadavg()[0]:.1f}."
    )


def _find_processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _find_version(package: str) -> str:
    """Where they are installed, pyarrow imports them."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def draw_table(figures: list[Figure]) -> str:
    lines = [
        "| measured | figure | limit | in processor time | from |",
        "|---|---|---|---|---|",
        *(
            f"| {f.what} | **{f.figure}** | {f.limit} | {f.processor} | {f.basis} |"
            for f in figures
        ),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
