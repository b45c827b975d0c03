"""Vectors of documents: read, cut into passages, embedded by a model that has a worker for itself.

    batten run embeddings.py --param folder=DOCUMENTS

`DEVICES` in the environment says what the model runs on; here that only names workers.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from minilm import DIMENSIONS, MiniLM

import batten

PASSAGES_MAX = 2
CHARACTERS_MAX = 300


def cut(path: Path) -> Iterator[dict[str, Any]]:
    """The first passages of a document of Markdown, each under the document's title."""
    blocks = [" ".join(block.split()) for block in path.read_text().split("\n\n")]
    title = blocks[0].lstrip("# ")
    told = [block for block in blocks[1:] if block and not block.startswith(("#", "|", "```"))]
    for place, block in enumerate(told[:PASSAGES_MAX]):
        yield {"title": title, "place": place, "text": block[:CHARACTERS_MAX]}


def count_tokens(row: dict[str, Any]) -> int:
    """Roughly: what matters is that a call is not too large."""
    return len(row["text"]) // 4


class Embed:
    """A table of passages in, the same with vectors out."""

    def __init__(self, device: str = "cpu") -> None:
        self._model = MiniLM()
        self._device = device

    def __call__(self, table: pa.Table) -> pa.Table:
        texts = [
            f"{title}. {text}"
            for title, text in zip(
                table.column("title").to_pylist(), table.column("text").to_pylist(), strict=True
            )
        ]
        flat = pa.array(self._model.embed(texts).astype(np.float32).reshape(-1))
        vectors = pa.FixedSizeListArray.from_arrays(flat, DIMENSIONS)
        return table.append_column("vector", vectors)


def pipeline(folder: str = "documents") -> batten.Pipeline:
    return (
        batten.from_files(f"{folder}/**/*.md")
        .flat_map(cut)
        .map_batches(
            Embed,
            items=4,
            tokens_max=2_000,
            tokens=count_tokens,
            devices=os.environ.get("DEVICES", "cpu").split(","),
        )
        .write_parquet("vectors")
        .options(batch_size=8)
    )
