"""A pydantic model as the answer of a chat call: what is asked, what is read, what is repaired."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from typing import Any

from batten.errors import usage_error
from batten.model.json_text import check_plain_json, parse_json
from batten.model.telling.cutting import cut_middle
from batten.model.value_class import value_class

_NAME_MAX = 64
_TOLD_MAX = 2000
_SHOWN_MAX = 400
_KEPT_MAX = 10_000
"""So much of an answer is quarantined."""
_SENT_BACK_MAX = 100_000
"""So much of an answer goes back to the model: what it is sent is paid, too."""


class AnswerError(ValueError):
    """A model's answer is not what was asked for, and was not repaired.

    Attributes:
        told: What is wrong with it.
        raw: The text of the last answer.
        is_final: Whether a repair is of no use.
        status_code: 422, so that it is not tried again unless `retry_on` says so.
    """

    status_code = 422

    def __init__(self, told: str, raw: str, *, is_final: bool = False) -> None:
        shown = raw if len(raw) <= _SHOWN_MAX else f"{raw[:_SHOWN_MAX]}…"
        super().__init__(f"{told}; the answer: {shown}")
        self.told = told
        self.raw = raw
        self.is_final = is_final
        note_answer(self, raw)

    def __reduce__(self) -> tuple[Any, ...]:
        return functools.partial(AnswerError, is_final=self.is_final), (self.told, self.raw)


def note_answer(error: BaseException, raw: str) -> None:
    """What was paid is in the traceback that is quarantined."""
    error.add_note(f"The whole answer: {cut_middle(raw, _KEPT_MAX)}")


@value_class
class Structure:
    """Answers are to be of the class `model`, a pydantic model; an answer that is not may be
    repaired so often."""

    model: Any
    repairs: int

    def ask(self, body: Any) -> dict[str, Any]:
        """The body of a request for such an answer."""
        if not isinstance(body, Mapping) or not isinstance(body.get("messages"), list):
            raise TypeError("request_fn is to give a dict with a list of messages")
        name = re.sub(r"[^A-Za-z0-9_-]", "_", self.model.__name__)[:_NAME_MAX]
        wanted = {"name": name, "strict": True, "schema": parse_json(write_schema(self.model))}
        return {"response_format": {"type": "json_schema", "json_schema": wanted}, **body}

    def read(self, answer: Any) -> Any:
        """The row. Raises `AnswerError` for what the model may repair, `ValueError` for what is no
        answer of a model, and whatever a validator raises."""
        choice = _first(_get(answer, "choices"))
        message = _get(choice, "message")
        if message is None:
            raise ValueError(
                "it is no answer of a chat model, which has choices with a message (a stream has "
                f"to be put together first): {repr(answer)[:_SHOWN_MAX]}"
            )
        refusal, text = _get(message, "refusal"), _get(message, "content")
        ended = _get(choice, "finish_reason")
        if refusal or ended == "content_filter":
            raise AnswerError("the model refuses to answer", str(refusal or ""), is_final=True)
        if isinstance(text, list | tuple):
            pieces = [_get(piece, "text") for piece in text]
            text = "".join(piece for piece in pieces if isinstance(piece, str)) or None
        if not isinstance(text, str):
            why = f" (it ended with {ended})" if isinstance(ended, str) else ""
            raise AnswerError(f"the answer has no text{why}", "" if text is None else str(text))
        try:
            made = self.model.model_validate_json(text)
            check_plain_json(text)
        except ValueError as error:
            raise AnswerError(_tell(error), text) from None
        except Exception as error:
            note_answer(error, text)
            raise
        return made

    def repair(self, body: Mapping[str, Any], error: AnswerError) -> dict[str, Any]:
        """The body of a further request, which tells the model what was wrong."""
        told = (
            f"That answer is not valid. {error.told[:_TOLD_MAX]} Answer again, with the whole JSON "
            "object and nothing else."
        )
        further = [{"role": "user", "content": told}]
        if error.raw:
            raw = cut_middle(error.raw, _SENT_BACK_MAX)
            further.insert(0, {"role": "assistant", "content": raw})
        return {**body, "messages": [*body["messages"], *further]}


def make_structure(model: Any, repairs: int) -> Structure:
    """Raises `UsageError` for what is no pydantic model."""
    if not isinstance(model, type) or not hasattr(model, "model_validate_json"):
        raise usage_error(
            "batten.structured() takes a pydantic model, the class itself.",
            "Write a class that derives from pydantic.BaseModel, with the fields of the row.",
        )
    try:
        write_schema(model)
    except Exception as error:
        raise usage_error(
            f"{model.__name__} can't be sent to a model as a schema: {_tell_shortly(error)}",
            "Give its fields types that JSON has: numbers, texts, lists, other models.",
        ) from error
    return Structure(model=model, repairs=repairs)


@functools.lru_cache(maxsize=64)
def write_schema(model: Any) -> str:
    """The JSON schema of a pydantic model, as it is sent. Raises what pydantic raises for a model
    that has none."""
    return json.dumps(_make_strict(model.model_json_schema()))


def _tell_shortly(error: BaseException) -> str:
    return " ".join(str(error).split())[:_SHOWN_MAX]


def _tell(error: ValueError) -> str:
    """What pydantic found, without the input and addresses of its documentation."""
    errors = getattr(error, "errors", None)
    if not callable(errors):
        return str(error)
    found = errors(include_url=False, include_context=False, include_input=False)
    told = (f"{'.'.join(map(str, each['loc'])) or 'all of it'}: {each['msg']}" for each in found)
    return "; ".join(told)[:_TOLD_MAX] + "."


def _first(values: Any) -> Any:
    return values[0] if isinstance(values, list | tuple) and values else None


def _get(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)


def _make_strict(schema: dict[str, Any]) -> dict[str, Any]:
    """As OpenAI's strict mode wants it: each object says that it has all its fields and no others,
    nothing has a default, and a reference stands alone."""
    known = schema.get("$defs", {})

    def walk(node: Any, within: tuple[str, ...] = ()) -> Any:
        if isinstance(node, list):
            return [walk(each, within) for each in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node and len(node) > 1:
            rest = {name: each for name, each in node.items() if name not in ("$ref", "default")}
            name = node["$ref"].rpartition("/")[2]
            # What holds itself has no end when it is written out.
            if not rest or name in within:
                return {"$ref": node["$ref"]}
            return walk({**known.get(name, {}), **rest}, (*within, name))
        made: dict[str, Any] = {}
        for name, each in node.items():
            if name in ("properties", "$defs"):
                made[name] = {key: walk(inner, within) for key, inner in each.items()}
            elif name in ("enum", "const", "examples"):
                made[name] = each
            elif name == "oneOf":
                made["anyOf"] = walk(each, within)
            elif name not in ("default", "discriminator"):
                made[name] = walk(each, within)
        if isinstance(made.get("properties"), dict):
            made["additionalProperties"] = False
            made["required"] = list(made["properties"])
        return made

    strict: dict[str, Any] = walk(schema)
    return strict
