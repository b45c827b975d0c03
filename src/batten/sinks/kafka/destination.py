"""A topic that is open, with tokens. See `Destination`.

A batch goes in one transaction: the rows, then, when the broker has them all, the token with the
offsets after them. The commit counts when the token was read back. Whoever publishes first takes
over the name of the transactions, which ends what an older process had begun, and then reads the
tokens to the end. From then on no other process can add one under this name (decision 0141).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from batten.errors import BATCHES_KEPT, InconsistentError, StorageError
from batten.kafka.cluster import DEFAULT, Cluster, list_made_anew
from batten.model.disk.destinations.tokens import PublishEnd, Token, TokenState
from batten.sinks.base import Staged
from batten.sinks.kafka.failures import translated
from batten.sinks.kafka.fitting import Fitting, TopicLimits, find_limits, refuse_unknown_key
from batten.sinks.kafka.messages import VALUE_FORMATS
from batten.sinks.kafka.tokens import KeptToken, TokenLog, encode_key, find_latest_ends
from batten.sinks.kafka.writing import Writer
from batten.sinks.rows.revisions import select_lacking

if TYPE_CHECKING:
    import pyarrow as pa

    from batten.sinks.kafka.topic import KafkaTopic


class KafkaDestination:
    """Used by one thread, under the ledger's lock."""

    def __init__(self, sink: KafkaTopic, target: str) -> None:
        self._sink, self._target = sink, target
        self._cluster = Cluster(sink.servers, sink.read_config(), sink.timeout_seconds)
        self._log = TokenLog(self._cluster, sink.topic)
        self._values = VALUE_FORMATS[sink.format].open(sink, self._cluster)
        self._writer: Writer | None = None
        self._written_as: str | None = None
        self._ends: dict[int, int] = {}
        self._id, self._partitions = "", 1
        self._limits: TopicLimits | None = None
        self._known_partitions = 1
        with self._translated("Connecting to"):
            self._cluster.find_topic(sink.topic)

    def prepare(self, schema: pa.Schema) -> None:
        key = self._sink.message_key
        refuse_unknown_key(self._target, schema, key)
        tokens = self._log.name
        with self._translated("Preparing"):
            self._values.prepare(schema)
            self._cluster.ensure_topic(self._sink.topic, partitions=DEFAULT, config={})
            find_limits(self._cluster, self._sink.topic).refuse_no_key(self._target, key)
            self._cluster.ensure_topic(tokens, partitions=1, config={"cleanup.policy": "compact"})
            self._cluster.refuse_expiring(tokens, "tokens")

    def add_columns(self, schema: pa.Schema) -> None:
        """Each message has the columns of its rows."""

    def lookup(self, tokens: Sequence[Token]) -> list[TokenState]:
        if not tokens:
            return []
        dataset = tokens[0].dataset
        with self._translated("Asking"):
            if self._written_as == dataset and self._writer is None:
                # How its last transaction ended is not known: a new writer ends it.
                self._take_over(dataset)
            else:
                self._log.read_to_end(lambda: self._take_over(dataset))
            self._check_topic(dataset)
        return [self._compare(token) for token in tokens]

    def list_closed(self, tokens: Sequence[Token]) -> list[Token]:
        """None: outcomes are kept in every token."""
        return []

    def publish(self, staged: Staged) -> PublishEnd:
        dataset = staged.token.dataset
        with self._translated("Publishing to"), self._telling_what_is_gone():
            # A writer learns of added partitions late, and would refuse them.
            knows_all = self._known_partitions == self._partitions
            if self._writer is None or self._written_as != dataset or not knows_all:
                self._take_over(dataset)
                self._check_topic(dataset)
                self._known_partitions = self._partitions
            lacking = self._select(staged)
            if lacking is None:
                return PublishEnd.LOST_RACE
            return self._write(staged, self._fit(lacking, staged))

    def rehearse(self, staged: Staged) -> None:
        with self._translated("Publishing to"):
            fitting = self._fit(staged, staged)
            deque(fitting, maxlen=0)
            fitting.refuse_unfit()

    def close(self) -> None:
        self._drop_writer()
        self._log.close()
        self._cluster.close()

    def _select(self, staged: Staged) -> Staged | None:
        """What of it is lacking; None if nothing is."""
        kept = self._log.found.get(encode_key(staged.token))
        if kept is None:
            return staged
        if all(self._compare(token) is TokenState.SAME for token in staged.tokens):
            return None
        return select_lacking(staged, kept.outcomes, self._target)

    def _write(self, staged: Staged, messages: Fitting) -> PublishEnd:
        writer = self._writer
        if writer is None:
            raise RuntimeError("there is no writer")
        keys = [encode_key(token) for token in staged.tokens]
        try:
            writer.begin()
            writer.send(self._sink.topic, messages)
            messages.refuse_unfit()
            ends = self._look_at_topic()
            kept = KeptToken(
                digest=staged.token.digest, outcomes=staged.outcomes, topic_id=self._id, ends=ends
            )
            self._log.refuse_another(self._target)
            writer.send_tokens(self._log.name, [(key, kept.encode()) for key in keys])
            is_confirmed = writer.commit()
        except BaseException:
            if not writer.abort():
                self._drop_writer()
            raise
        if is_confirmed:
            with suppress(TimeoutError):
                self._log.await_token(keys[-1], kept.digest)
                self._ends = ends
                return PublishEnd.COMMITTED
        self._drop_writer()
        return PublishEnd.UNKNOWN

    def _fit(self, lacking: Staged, staged: Staged) -> Fitting:
        if self._limits is None:
            self._limits = find_limits(self._cluster, self._sink.topic)
        return Fitting(
            lacking, staged, self._sink, self._values, self._limits, partitions=self._partitions
        )

    def _look_at_topic(self) -> dict[int, int]:
        """The ends of its partitions. Raises `InconsistentError` if it was made anew meanwhile."""
        return self._hold_against(self._ends, [self._id], self._written_as or "")

    def _check_topic(self, dataset: str) -> None:
        """Raises `InconsistentError` if the topic has not what tokens say it has."""
        kept = self._log.list_kept(dataset).values()
        ids = [each.topic_id for each in kept]
        self._ends = self._hold_against(find_latest_ends(kept), ids, dataset)

    def _hold_against(
        self, before: Mapping[int, int], ids: Sequence[str], dataset: str
    ) -> dict[int, int]:
        topic = self._cluster.find_topic(self._sink.topic)
        if topic is None:
            if before:
                raise self._made_anew([], dataset)
            return {}
        now = self._cluster.find_ends(self._sink.topic, topic.partitions)
        if told := list_made_anew(before, now, [*ids, topic.id]):
            raise self._made_anew(told, dataset)
        self._id, self._partitions = topic
        return now

    def _made_anew(self, told: Sequence[str], dataset: str) -> InconsistentError:
        what = f"was made anew: {told[0]}" if told else "is gone"
        return InconsistentError(
            f"{self._target} {what}. Batches of {dataset!r} were published there.",
            safe=f"Nothing was changed; {BATCHES_KEPT}",
            next="Restore it; or have the new one filled under another name, dataset=…; or delete "
            f"{self._log.name}, if it has no tokens of others, and move the record in deliveries/ "
            "away, then run again.",
        )

    def _compare(self, token: Token) -> TokenState:
        kept = self._log.found.get(encode_key(token))
        if kept is None:
            return TokenState.ABSENT
        return TokenState.SAME if kept.digest == token.digest else TokenState.OTHER

    def _take_over(self, dataset: str) -> None:
        """Become the only process that can publish under this name, and read the tokens."""
        self._drop_writer()
        self._written_as = dataset
        self._limits = find_limits(self._cluster, self._sink.topic)
        self._writer = Writer(
            self._cluster,
            f"batten/{self._sink.topic}/{dataset}",
            bytes_max=self._limits.bytes_max,
            target=self._target,
        )
        self._log.read_to_end(lambda: None)

    def _drop_writer(self) -> None:
        if self._writer is not None:
            writer, self._writer = self._writer, None
            writer.close()

    @contextmanager
    def _telling_what_is_gone(self) -> Iterator[None]:
        """A topic that is gone, or has lost messages, is told as that, and not by what the client
        makes of it."""
        from confluent_kafka import KafkaException

        try:
            yield
        except KafkaException:
            self._look_at_topic()
            self._log.refuse_another(self._target)
            raise

    @contextmanager
    def _translated(self, action: str) -> Iterator[None]:
        try:
            with translated(action, self._target, self._cluster.config):
                yield
        except StorageError:
            # What it was about to do is not known.
            self._drop_writer()
            raise
