"""What functions and classes are annotated with, when annotations may name what is not there.

A name that only a type checker imports is such a name. From Python 3.14 on annotations are
evaluated when they are asked for, and then raise; before, they raised where they stood, or were
texts.
"""

from __future__ import annotations

import inspect
import sys
from typing import Any, ForwardRef, get_args


def annotated_names(kind: type[Any]) -> list[str]:
    """The names that a class annotates itself, in order. Nothing is evaluated."""
    if sys.version_info >= (3, 14):
        from annotationlib import Format, get_annotations

        return list(get_annotations(kind, format=Format.STRING))
    # In a class of C code this may be a descriptor.
    found = vars(kind).get("__annotations__")
    return list(found) if isinstance(found, dict) else []


def returned(function: Any) -> Any:
    """The type that a function's annotation says it returns, or its text. None if there is none, or
    it names what is not there."""
    if sys.version_info >= (3, 14):
        from annotationlib import Format, get_annotations

        try:
            found = get_annotations(function, format=Format.FORWARDREF).get("return")
        except Exception:  # noqa: BLE001 - whatever evaluating an annotation raises
            return None
        return None if _is_open(found) else found
    return getattr(function, "__annotations__", {}).get("return")


def signature_of(function: Any) -> inspect.Signature:
    """What `inspect.signature` gives; an annotation that names what is not there is a `ForwardRef`.
    Raises `ValueError` or `TypeError` where a callable has none that can be seen."""
    if sys.version_info >= (3, 14):
        from annotationlib import Format

        return inspect.signature(function, annotation_format=Format.FORWARDREF)
    return inspect.signature(function)


def _is_open(annotation: Any) -> bool:
    return isinstance(annotation, ForwardRef) or any(map(_is_open, get_args(annotation)))
