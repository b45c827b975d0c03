"""Spans and metrics of a run by OpenTelemetry, where the program uses it (decision 0112).

Where the program has not imported OpenTelemetry, and the environment names no provider, nobody can
have set it up: what is told would be dropped. There nothing of it is imported. Who sees what is
told here is for the program to say.
"""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from batten.errors import BattenError
from batten.listening import Log
from batten.printable import blot, escape

if TYPE_CHECKING:
    from batten.run.progress import Status
    from batten.run.telling.watching import BatchPublished, RunBegan, RunEnded

_NAMING_PROVIDERS = ("OTEL_PYTHON_TRACER_PROVIDER", "OTEL_PYTHON_METER_PROVIDER")
"""By these the API itself sets up a provider that a package brings, at the first use."""
_NANOSECONDS = 1_000_000_000


def find_telemetry() -> Telemetry | None:
    """None where OpenTelemetry can't have been set up, or is of no use."""
    if "opentelemetry" not in sys.modules and not any(map(os.environ.get, _NAMING_PROVIDERS)):
        return None
    try:
        from opentelemetry import metrics, trace

        return Telemetry(trace, metrics)
    except Exception as error:  # noqa: BLE001  a run does not fail for what is told of it
        told = escape(repr(error))
        Log("batten.run").warning("OpenTelemetry is told nothing of this run: %s", told)
        return None


class Telemetry:
    """Watches one run: a span for it, a span for each batch within it, and counters.

    The span of the run is the current one while the run is at work. So what the program measures in
    this thread lies within it."""

    def __init__(self, trace: Any, metrics: Any) -> None:
        self._trace = trace
        self._tracer = trace.get_tracer("batten", _version())
        meter = metrics.get_meter("batten", _version())
        self._items = meter.create_counter(
            "batten.items", unit="{item}", description="Items of published batches, by outcome."
        )
        self._rows = meter.create_counter(
            "batten.rows", unit="{row}", description="Rows of published batches."
        )
        self._bytes = meter.create_counter(
            "batten.output", unit="By", description="Bytes of published parts."
        )
        self._batches = meter.create_histogram(
            "batten.batch.duration", unit="s", description="From its first task to its part."
        )
        self._runs = meter.create_histogram(
            "batten.run.duration", unit="s", description="How long a run took."
        )
        self._stack = ExitStack()
        self._span: Any = None
        self._output: dict[str, Any] = {}
        self._began_ns = 0

    def begin(self, began: RunBegan) -> None:
        self._output = {"batten.output": _sound(began.output)}
        self._began_ns = began.time_ns
        self._span = self._tracer.start_span(
            "batten.run",
            start_time=began.time_ns,
            attributes={**self._output, "batten.run": began.run, "batten.jobs": began.jobs},
        )
        used = self._trace.use_span(
            self._span,
            end_on_exit=False,
            record_exception=False,
            set_status_on_exception=False,
        )
        self._stack.enter_context(used)

    def hold(self) -> None:
        pass

    def show(self, status: Status) -> None:
        pass

    def publish(self, published: BatchPublished) -> None:
        counts = published.counts
        outcomes = {
            name: getattr(counts, name) for name in ("committed", "filtered", "quarantined")
        }
        span = self._tracer.start_span(
            "batten.batch",
            context=self._trace.set_span_in_context(self._span),
            start_time=published.began_ns,
            attributes={
                **self._output,
                "batten.batch": published.batch,
                "batten.rows": published.rows,
                **{f"batten.items.{name}": count for name, count in outcomes.items()},
            },
        )
        span.end(end_time=published.time_ns)
        for name, count in outcomes.items():
            if count:
                self._items.add(count, {**self._output, "batten.state": name})
        self._rows.add(published.rows, self._output)
        self._bytes.add(published.size, self._output)
        seconds = max(0, published.time_ns - published.began_ns) / _NANOSECONDS
        self._batches.record(seconds, self._output)

    def end(self, ended: RunEnded) -> None:
        self._stack.close()
        span, status = self._span, {"batten.status": ended.status.value}
        span.set_attributes(
            {
                **status,
                "batten.executed_items": ended.executed,
                "batten.adopted_items": ended.adopted,
            }
        )
        if ended.accounts is not None:
            span.set_attribute("batten.items.quarantined", ended.accounts.quarantined)
            span.set_attribute("batten.rows", ended.rows)
        if ended.error is not None:
            self._tell_error(ended.error)
        span.end(end_time=ended.time_ns)
        seconds = max(0, ended.time_ns - self._began_ns) / _NANOSECONDS
        self._runs.record(seconds, {**self._output, **status})

    def _tell_error(self, error: BaseException) -> None:
        """Only what may be told: a traceback may hold values of secrets."""
        told = _sound(blot(error.what if isinstance(error, BattenError) else str(error)))
        kind = type(error).__name__
        self._span.add_event("exception", {"exception.type": kind, "exception.message": told})
        self._span.set_status(self._trace.StatusCode.ERROR, told)


def _version() -> str:
    return str(getattr(sys.modules["batten"], "__version__", ""))


def _sound(text: str) -> str:
    """What is not UTF-8 is escaped: exporters send nothing else."""
    return text.encode(errors="backslashreplace").decode()
