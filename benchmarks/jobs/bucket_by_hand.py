"""The same as bucket.py with a loop and the same client; it survives nothing."""

import io
import random
import sys

import obstore
import pyarrow as pa
import pyarrow.parquet as pq
from obstore.store import from_url

ITEMS, BYTES = 128, 1 << 16
SCHEMA = pa.schema([("key", pa.int64()), ("made", pa.binary())])


def make(number: int) -> dict[str, object]:
    return {"key": number, "made": random.Random(number).randbytes(BYTES)}


def main(address: str, batches: int) -> None:
    store = from_url(address)
    for batch in range(batches):
        rows = [make(number) for number in range(batch * ITEMS, (batch + 1) * ITEMS)]
        data = io.BytesIO()
        table = pa.Table.from_pylist(rows, schema=SCHEMA)
        pq.write_table(table, data, compression="zstd", compression_level=1)
        obstore.put(store, f"part-{batch:06}.parquet", data.getvalue(), mode="create")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
