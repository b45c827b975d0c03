"""The passages that are nearest in sense to a question: `python search.py QUESTION`."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from minilm import DIMENSIONS, MiniLM

import batten


class Index:
    """All vectors of the dataset, in memory; some ten thousand need no more than that."""

    def __init__(self, dataset: str = "vectors") -> None:
        table = batten.open(dataset).to_arrow()
        flat = table.column("vector").combine_chunks().flatten()
        self._vectors = flat.to_numpy().reshape(-1, DIMENSIONS)
        self._rows = table.drop_columns(["vector"]).to_pylist()
        self._model = MiniLM()

    def find(self, question: str, count: int = 5) -> list[dict[str, Any]]:
        """The nearest passages, the nearest first, with how near they are: 1 is the same."""
        nearness = self._vectors @ self._model.embed([question])[0]
        order = np.argsort(-nearness)[:count]
        return [{**self._rows[place], "nearness": float(nearness[place])} for place in order]


if __name__ == "__main__":
    for found in Index().find(" ".join(sys.argv[1:])):
        print(f"{found['nearness']:.3f}  {found['title']}\n       {found['text'][:90]}")
