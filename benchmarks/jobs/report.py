"""Five million refunds, each with its merchant, sorted by refund."""

import pyarrow as pa

import batten


def report(refunds: pa.Table, merchants: pa.Table) -> pa.Table:
    return refunds.join(merchants, "merchant").sort_by("refund")


pipeline = (
    batten.from_tables(refunds="refunds.csv", merchants="merchants.csv")
    .apply(report)
    .write_csv("report.csv")
)
