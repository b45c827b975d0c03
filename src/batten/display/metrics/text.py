"""Metrics of one run in the text format of Prometheus."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from batten.model.value_class import value_class

Labels = Mapping[str, str]


@value_class
class Metric:
    """A metric with its samples. The name of a counter ends with `_total`."""

    name: str
    help: str
    samples: tuple[tuple[Labels, float], ...]

    @property
    def kind(self) -> str:
        return "counter" if self.name.endswith("_total") else "gauge"


def write_metrics(metrics: Iterable[Metric], shared: Labels) -> str:
    """The text; all samples have the `shared` labels, too. What is not UTF-8 in them is escaped."""
    return "".join(line + "\n" for metric in metrics for line in _write(metric, shared))


def _write(metric: Metric, shared: Labels) -> Iterator[str]:
    if not metric.samples:
        return
    yield f"# HELP {metric.name} {_escape(metric.help)}"
    yield f"# TYPE {metric.name} {metric.kind}"
    for labels, value in metric.samples:
        pairs = (f'{name}="{_quote(text)}"' for name, text in {**shared, **labels}.items())
        yield f"{metric.name}{{{','.join(pairs)}}} {_show(value)}"


def _show(value: float) -> str:
    return str(value) if isinstance(value, int) else repr(value)


def _quote(text: str) -> str:
    return _escape(text).replace('"', r"\"")


def _escape(text: str) -> str:
    sound = text.encode(errors="backslashreplace").decode()
    return sound.replace("\\", r"\\").replace("\n", r"\n")
