"""Which metrics there are of a run, and their values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from batten.display.metrics.text import Metric
from batten.model.words import RunStatus

if TYPE_CHECKING:
    from batten.model.disk.runs.usage_lines import Amount
    from batten.model.rules.accounting import Accounts
    from batten.model.rules.usage import Usage
    from batten.run.progress import Status
    from batten.run.telling.watching import BatchPublished, RunBegan, RunEnded

RUNNING = "running"
"""The status of a run that has not ended."""

_STATUSES = (RUNNING, *(each.value for each in RunStatus if each is not RunStatus.PLANNED))
_NANOSECONDS = 1_000_000_000


@dataclass(kw_only=True)
class RunMetrics:
    """What is known of a run so far."""

    began: RunBegan
    status: str = RUNNING
    accounts: Accounts | None = None
    executed: int = 0
    adopted: int = 0
    batches: int = 0
    published_rows: int = 0
    published_bytes: int = 0
    rows: int | None = None
    stages: dict[str, float] = field(default_factory=dict)
    ended_ns: int | None = None
    usage: Usage | None = None

    def show(self, status: Status) -> None:
        self.accounts = status.accounts
        self.executed, self.adopted = status.executed, status.adopted

    def publish(self, published: BatchPublished) -> None:
        self.batches += 1
        self.published_rows += published.rows
        self.published_bytes += published.size

    def end(self, ended: RunEnded) -> None:
        self.status = ended.status.value
        self.executed, self.adopted = ended.executed, ended.adopted
        self.stages, self.ended_ns = ended.seconds, ended.time_ns
        self.usage = ended.usage
        if ended.accounts is not None:
            self.accounts, self.rows = ended.accounts, ended.rows

    def list_metrics(self, now_ns: int) -> Iterator[Metric]:
        """All that are known, in a fixed order."""
        yield from self._list_items()
        yield _counted(
            "executed_items", "Items for which this run called functions.", self.executed
        )
        yield _counted("adopted_items", "Items taken over from what was staged.", self.adopted)
        yield _counted("published_batches", "Batches that this run published.", self.batches)
        yield _counted("published_rows", "Rows that this run published.", self.published_rows)
        yield _counted("published_bytes", "Bytes of parts it published.", self.published_bytes)
        if self.rows is not None:
            yield _measured("rows", "Rows of the dataset.", self.rows)
        if self.usage is not None:
            yield from _list_usage(self.usage)
        yield Metric(
            name="batten_stage_seconds_total",
            help="Time that this run spent in each stage.",
            samples=tuple(({"stage": name}, each) for name, each in self.stages.items()),
        )
        yield Metric(
            name="batten_run_status",
            help="1 for the status of the latest run, 0 for all others.",
            samples=tuple(
                ({"status": each}, int(each == self.status)) for each in sorted(_STATUSES)
            ),
        )
        yield from self._list_times(now_ns)

    def _list_items(self) -> Iterator[Metric]:
        accounts = self.accounts
        if accounts is None:
            return
        done = ("committed", "filtered", "quarantined", "duplicate")
        yield Metric(
            name="batten_items_total",
            help="Items of the dataset whose outcome is settled.",
            samples=tuple(({"state": name}, getattr(accounts, name)) for name in done),
        )
        yield _measured("source_items", "Items of the source.", accounts.source)
        yield _measured("staged_items", "Items finished and not published.", accounts.staged)
        yield _measured("pending_items", "Items that are still to be done.", accounts.pending)

    def _list_times(self, now_ns: int) -> Iterator[Metric]:
        until = self.ended_ns if self.ended_ns is not None else now_ns
        seconds = max(0, until - self.began.time_ns) / _NANOSECONDS
        yield _measured("run_duration_seconds", "How long the run has taken.", seconds)
        yield _measured(
            "run_start_timestamp_seconds", "When the run began.", _seconds(self.began.time_ns)
        )
        if self.ended_ns is not None:
            yield _measured(
                "run_end_timestamp_seconds", "When the run ended.", _seconds(self.ended_ns)
            )
        yield _measured(
            "updated_timestamp_seconds", "When these metrics were written.", _seconds(now_ns)
        )


def _list_usage(usage: Usage) -> Iterator[Metric]:
    """What units there are is for the functions of the job to say, so they are labels."""
    sums = ("kept", "failed_tries", "quarantined", "repeated")
    yield Metric(
        name="batten_usage_total",
        help="What calls of the dataset used in all runs, by what became of their answers.",
        samples=tuple(
            ({"unit": unit, "state": name}, _as_number(amount))
            for name in sums
            for unit, amount in getattr(usage, name).items()
        ),
    )
    lost = "Calls in hand when runs ended, and answers that did not say what they used."
    yield _counted("lost_calls", lost, usage.calls_lost)
    yield Metric(
        name="batten_lost_usage_max",
        help="The bound of what the lost calls used.",
        samples=tuple(
            ({"unit": unit}, _as_number(amount)) for unit, amount in usage.lost_at_most.items()
        ),
    )


def _as_number(amount: Amount) -> float:
    return amount if isinstance(amount, int) else float(amount)


def _counted(name: str, told: str, value: int) -> Metric:
    return Metric(name=f"batten_{name}_total", help=told, samples=(({}, value),))


def _measured(name: str, told: str, value: float) -> Metric:
    return Metric(name=f"batten_{name}", help=told, samples=(({}, value),))


def _seconds(time_ns: int) -> float:
    return round(time_ns / _NANOSECONDS, 3)
