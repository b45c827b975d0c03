"""The same as trivial.py with a pool and one file, synced at the end; it survives nothing."""

import os
import sys
from multiprocessing import Pool

import pyarrow as pa
import pyarrow.parquet as pq

ROWS_A_WRITE = 50_000
SCHEMA = pa.schema([("key", pa.int64()), ("double", pa.int64()), ("name", pa.string())])


def measure(number: int) -> dict[str, object]:
    return {"key": number, "double": number * 2, "name": f"item {number % 100}"}


def main(items: int) -> None:
    with Pool(2) as pool, open("trivial.parquet", "wb") as file:
        with pq.ParquetWriter(file, SCHEMA) as writer:
            rows = []
            for row in pool.imap(measure, range(items), chunksize=256):
                rows.append(row)
                if len(rows) == ROWS_A_WRITE:
                    writer.write_table(pa.Table.from_pylist(rows, schema=SCHEMA))
                    rows.clear()
            writer.write_table(pa.Table.from_pylist(rows, schema=SCHEMA))
        file.flush()
        os.fsync(file.fileno())


if __name__ == "__main__":
    main(int(sys.argv[1]))
