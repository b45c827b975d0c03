"""The daily report: the flights of a year with the names of their airlines, late ones first.

batten run report.py:report --param run_date=2013-12-31
batten run report.py:load --param run_date=2013-12-31
batten run report.py:load --param run_date=2013-12-31 --fresh      after a correction
"""

import datetime
import os

import pyarrow as pa
import pyarrow.compute as pc

import batten

COLUMNS = ["year", "month", "day", "flight", "origin", "dest", "dep_delay", "arr_delay", "airline"]


def join(flights: pa.Table, airlines: pa.Table) -> pa.Table:
    """Every flight once, also one of an airline that is not listed."""
    named = flights.join(airlines.rename_columns({"name": "airline"}), "carrier")
    late = named.append_column("late", pc.greater(named["arr_delay"], 15))
    order = [("arr_delay", "descending"), *((name, "ascending") for name in COLUMNS[:6])]
    return late.select([*COLUMNS, "late"]).sort_by(order)


def report(run_date: datetime.date):
    """CSV in, CSV out: cheaper to run again than to resume, so one function of whole tables."""
    return (
        batten.from_tables(flights="in/flights_{run_date}.csv", airlines="in/airlines.csv")
        .apply(join)
        .write_csv("out/report_{run_date}.csv")
    )


def load(run_date: datetime.date):
    """The same report as a file and in a database: PostgreSQL where REPORT_DATABASE names one, else
    SQLite. A corrected day is loaded anew by `--fresh`: its rows there are replaced, no others."""
    made = (
        batten.from_tables(flights="in/flights_{run_date}.csv", airlines="in/airlines.csv")
        .apply(join)
        .write_csv("loaded/report_{run_date}.csv")
    )
    day = {"run_date": "{run_date}"}
    address = os.environ.get("REPORT_DATABASE")
    if address:
        return made.write_postgres(address, "report", mode="replace", where=day)
    return made.write_sqlite("reports.db", "report", mode="replace", where=day)
