"""Arrays of several dimensions: nested lists as Arrow's tensors of a fixed shape."""

from __future__ import annotations

import pyarrow as pa


def is_tensor(kind: pa.DataType) -> bool:
    return isinstance(kind, pa.FixedShapeTensorType)


def as_nested_lists(kind: pa.FixedShapeTensorType) -> pa.DataType:
    """The type of lists of lists that has the same values, each of its size."""
    nested: pa.DataType = kind.value_type
    for size in reversed(kind.shape):
        nested = pa.list_(nested, size)
    return nested


def make_tensors(column: pa.ChunkedArray, kind: pa.FixedShapeTensorType) -> pa.ChunkedArray:
    """Raises `ArrowException` where an array is of another shape."""
    nested = column.cast(as_nested_lists(kind)).combine_chunks()
    nulls = pa.array([not each.is_valid for each in nested], pa.bool_())
    values, width = nested, 1
    for size in kind.shape:
        # Not `flatten`, which leaves out the room of nulls.
        values, width = values.values.slice(values.offset * size, len(values) * size), width * size
    storage = pa.FixedSizeListArray.from_arrays(values, width, mask=nulls)
    return pa.chunked_array([pa.ExtensionArray.from_storage(kind, storage)])
