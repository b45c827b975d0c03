"""What a Delta table asks of its writers that batten can't do."""

from __future__ import annotations

from batten.sinks.lakes.delta.log import Action

FEATURES = frozenset(
    {
        *("appendOnly", "changeDataFeed", "checkConstraints", "columnMapping", "deletionVectors"),
        *("domainMetadata", "generatedColumns", "identityColumns", "invariants", "timestampNanos"),
        *("timestampNtz", "typeWidening", "v2Checkpoint", "vacuumProtocolCheck", "variantType"),
    }
)
"""What a table may ask of its writers that adding a file keeps: some only while not in use."""

_NEWEST_WRITER = 7
_FORBIDS_REMOVING = ("delta.appendOnly", "delta.enableChangeDataFeed")
"""What a table may say of itself with which batten takes no row away: it writes no feed."""
_FIELD_MARKS = ("delta.invariants", "delta.generationExpression", "delta.identity.")


def find_obstacle(protocol: Action, metadata: Action, *, removes: bool) -> str:
    """What batten can't do for the table; empty if there is nothing."""
    writer = protocol.get("minWriterVersion", 0)
    features = set(protocol.get("writerFeatures") or ())
    settings = metadata.get("configuration") or {}
    if writer > _NEWEST_WRITER:
        return f"asks for writers of version {writer}"
    unknown = sorted(features - FEATURES)
    if unknown:
        return f"asks its writers for {unknown[0]!r}"
    if metadata.get("partitionColumns"):
        return f"is partitioned by {metadata['partitionColumns'][0]!r}"
    if settings.get("delta.columnMapping.mode", "none") != "none":
        return "maps the names of its columns"
    if any(name.startswith("delta.constraints.") for name in settings):
        return "has constraints, which batten does not check"
    forbidding = [name for name in _FORBIDS_REMOVING if settings.get(name) == "true"]
    if removes and forbidding:
        return f"has {forbidding[0]!r}, and rows of it are to be replaced"
    marks = [name for name in _FIELD_MARKS if f'"{name}' in metadata.get("schemaString", "")]
    return f"has columns with {marks[0].rstrip('.')!r}" if marks else ""
