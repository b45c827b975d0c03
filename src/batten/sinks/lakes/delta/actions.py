"""What batten writes into the log of a Delta table: the table, its columns, a batch's token."""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from batten.errors import refused_there
from batten.model.disk.destinations.tokens import Token
from batten.model.json_text import parse_json
from batten.sinks.base import Staged, TableSink
from batten.sinks.lakes.columns import holds, refuse_type
from batten.sinks.lakes.delta.log import Action
from batten.sinks.rows.revisions import is_open

if TYPE_CHECKING:
    import pyarrow as pa

ENGINE = "batten"


def convert(schema: pa.Schema) -> pa.Schema:
    """As a table of Delta Lake holds it."""
    import deltalake
    import pyarrow as pa

    fields = []
    for each in schema:
        try:
            if isinstance(each.type, pa.BaseExtensionType):
                raise TypeError("readers would take its storage for it")
            made = deltalake.Schema.from_arrow(pa.schema([each.remove_metadata()]))
        except Exception as error:  # The library raises nothing more special than this.
            raise refuse_type("Delta Lake", each) from error
        fields.append(pa.schema(made.to_arrow()).field(0))
    return pa.schema(fields)


def make_table(schema: pa.Schema) -> list[Action]:
    """The first entry of a log. Raises `RefusedError` for times in nanoseconds: the library writes
    them, and neither it nor most others read such a table."""
    for each in schema:
        if holds(each.type, _is_of_nanoseconds):
            raise refuse_type("Delta Lake", each)
    return _plan_table(schema)


def _is_of_nanoseconds(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_timestamp(kind) and kind.unit == "ns")


def _plan_table(schema: pa.Schema) -> list[Action]:
    """Which features the columns need, the library knows."""
    import deltalake

    made = deltalake.Schema.from_arrow(convert(schema))
    with tempfile.TemporaryDirectory() as folder:
        deltalake.DeltaTable.create(folder, schema=made)
        entry = Path(folder, "_delta_log", f"{0:020}.json").read_text()
    actions: list[Action] = [parse_json(line) for line in entry.splitlines()]
    kept = [action for action in actions if "protocol" in action or "metaData" in action]
    return [_information("CREATE TABLE", {}), *kept]


def widen_table(
    target: str, new: Sequence[pa.Field], protocol: Action, metadata: Action
) -> list[Action]:
    """An entry that gives the table more columns, at the end. Raises `RefusedError` where these
    need a feature that the table has not."""
    import pyarrow as pa

    first = _plan_table(pa.schema(new))
    needs = {**next(action for action in first if "protocol" in action)["protocol"]}
    had = set(protocol.get("writerFeatures") or ()) | set(protocol.get("readerFeatures") or ())
    lacking = sorted(set(needs.get("writerFeatures") or ()) - had)
    if lacking:
        raise refused_there(
            f"{target} lacks the feature {lacking[0]!r}, which the new columns need.",
            "Enable it there, give the column another type (schema=…), or write to another table.",
        )
    made = next(action for action in first if "metaData" in action)["metaData"]
    fields = parse_json(made["schemaString"])["fields"]
    whole = parse_json(metadata["schemaString"])
    whole["fields"] += fields
    text = json.dumps(whole, separators=(",", ":"), ensure_ascii=False)
    told = json.dumps(fields, separators=(",", ":"), ensure_ascii=False)
    return [
        _information("ADD COLUMNS", {"columns": told}),
        {"metaData": {**metadata, "schemaString": text}},
    ]


def identify(staged: Staged) -> list[Action]:
    """A transaction identifier is a name and a number, which stands here for the content. A second
    one, of the same number, has the outcomes in its name, where there may be a later version."""
    names = list(map(name_of, staged.tokens))
    if is_open(staged):
        names.append(f"{names[0]}:{staged.outcomes}")
    return [{"txn": {"appId": name, "version": number(staged.token)}} for name in names]


def name_of(token: Token) -> str:
    return f"batten:{token.dataset}:{token.batch}"


def number(token: Token) -> int:
    return int.from_bytes(hashlib.sha256(token.digest.encode()).digest()[:8]) >> 1


def tell(staged: Staged, *, removes: bool, sink: TableSink) -> Action:
    token = staged.token
    parameters = {"mode": "Overwrite" if sink.replaces else "Append"}
    if sink.where:
        terms = [f"{name} = {value!r}" for name, value in sink.where.items()]
        parameters["predicate"] = " AND ".join(terms)
    is_merge = removes and not sink.replaces
    information = _information("MERGE", {}) if is_merge else _information("WRITE", parameters)
    information["commitInfo"] |= {
        "batten": {"dataset": token.dataset, "batch": token.batch, "digest": token.digest},
        "operationMetrics": {"numOutputRows": str(staged.rows)},
    }
    return information


def _information(operation: str, parameters: Action) -> Action:
    return {
        "commitInfo": {
            "timestamp": now_milliseconds(),
            "operation": operation,
            "operationParameters": parameters,
            "engineInfo": ENGINE,
        }
    }


def now_milliseconds() -> int:
    return time.time_ns() // 1_000_000
