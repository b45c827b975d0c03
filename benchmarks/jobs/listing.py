"""What a program must do that would know that 10,000 parts are there: the floor for a rerun."""

import os

import pyarrow.parquet  # noqa: F401

for entry in os.scandir("trivial"):
    entry.stat()
