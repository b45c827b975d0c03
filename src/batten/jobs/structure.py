"""A pydantic model as the answer of a chat call: what is asked, what is read, what is repaired."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from batten.errors import UsageError
from batten.model.json_text import parse_json
from batten.model.value_class import value_class

_NAME_MAX = 64
_TOLD_MAX = 2000
_SHOWN_MAX = 400


class AnswerError(ValueError):
    """A model's answer is not what was asked for, and was not repaired.

    Attributes:
        raw: The text of the last answer.
        status_code: 422, so that it is not tried again unless `retry_on` says so.
    """

    status_code = 422

    def __init__(self, told: str, raw: str, *, is_final: bool = False) -> None:
        shown = raw if len(raw) <= _SHOWN_MAX else f"{raw[:_SHOWN_MAX]}…"
        super().__init__(f"{told}; the answer: {shown}")
        self.told = told
        self.raw = raw
        self.is_final = is_final
        # The traceback in the quarantine has it whole.
        self.add_note(f"The whole answer: {raw}")


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
        schema = _make_strict(self.model.model_json_schema())
        wanted = {"name": name, "strict": True, "schema": schema}
        return {"response_format": {"type": "json_schema", "json_schema": wanted}, **body}

    def read(self, answer: Any) -> Any:
        """The row. Raises `AnswerError`."""
        message = _get(_first(_get(answer, "choices")), "message")
        refusal, text = _get(message, "refusal"), _get(message, "content")
        if refusal:
            raise AnswerError("the model refuses to answer", str(refusal), is_final=True)
        if not isinstance(text, str):
            raise AnswerError("the answer has no text", "" if text is None else str(text))
        try:
            return self.model.model_validate_json(text)
        except ValueError as error:
            raise AnswerError(_tell(error), text) from None

    def repair(self, body: Mapping[str, Any], error: AnswerError) -> dict[str, Any]:
        """The body of a further request, which tells the model what was wrong."""
        told = (
            f"That answer is not valid. {error.told[:_TOLD_MAX]} Answer again, with the whole JSON "
            "object and nothing else."
        )
        further = [
            {"role": "assistant", "content": error.raw},
            {"role": "user", "content": told},
        ]
        return {**body, "messages": [*body["messages"], *further]}


def make_structure(model: Any, repairs: int) -> Structure:
    """Raises `UsageError` for what is no pydantic model."""
    if not isinstance(model, type) or not hasattr(model, "model_validate_json"):
        raise UsageError(
            "batten.structured() takes a pydantic model, the class itself.",
            safe="Nothing was read or written.",
            next="Write a class that derives from pydantic.BaseModel, with the fields of the row.",
        )
    return Structure(model=model, repairs=repairs)


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

    def walk(node: Any) -> Any:
        if isinstance(node, list):
            return [walk(each) for each in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node and len(node) > 1:
            rest = {name: each for name, each in node.items() if name not in ("$ref", "default")}
            if not rest:
                return {"$ref": node["$ref"]}
            target = known.get(node["$ref"].rpartition("/")[2], {})
            return walk({**target, **rest})
        made: dict[str, Any] = {}
        for name, each in node.items():
            if name in ("properties", "$defs"):
                made[name] = {key: walk(within) for key, within in each.items()}
            elif name in ("enum", "const", "examples"):
                made[name] = each
            elif name != "default":
                made[name] = walk(each)
        if isinstance(made.get("properties"), dict):
            made["additionalProperties"] = False
            made["required"] = list(made["properties"])
        return made

    strict: dict[str, Any] = parse_json(json.dumps(walk(schema)))
    return strict
