"""The same with pyarrow alone, written in place."""

from pyarrow import csv

refunds, merchants = csv.read_csv("refunds.csv"), csv.read_csv("merchants.csv")
csv.write_csv(refunds.join(merchants, "merchant").sort_by("refund"), "report.csv")
