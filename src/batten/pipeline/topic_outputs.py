"""What follows the steps of a pipeline and writes its rows into a topic."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, Self

from batten.pipeline.outputs import Outputs
from batten.storage.addresses import as_written

if TYPE_CHECKING:
    from batten.fingerprint.secret import Secret


class TopicOutputs(Outputs):
    """Outputs, and the method that gives one with a topic as a further sink."""

    def write_kafka(
        self,
        topic: str,
        *,
        servers: str,
        key: str = "",
        format: Literal["json", "avro", "arrow"] = "json",
        schema_registry: str | Secret = "",
        config: Mapping[str, str | Secret] | None = None,
        transactions: bool = True,
        dataset: str = "",
        ledger: str | os.PathLike[str] | None = None,
        timeout_seconds: float = 60.0,
    ) -> Self:
        """Write the rows into a topic of Kafka, each as a message.

        Each batch goes in one transaction, with a token in the topic `TOPIC-batten-tokens`. By the
        token a batch that is there is never written again. Who reads with read_committed sees each
        row once. A topic that is missing is made.

        Args:
            topic: The name of the topic.
            servers: The brokers, as `host:port`, several with commas between them.
            key: The column whose values are the keys of messages. By default they have none, and
                batch by batch they go round the partitions.
            format: "json", the default, makes each value an object. "avro" makes it a record of
                Avro. "arrow" makes it a stream of Arrow with the one row.
            schema_registry: The address of the schema registry that gets the schema of "avro", such
                as `https://schemas.example:8081`; with a password in it, the `batten.Secret` that
                holds it. By default there is none, and schemas go into the topic
                `TOPIC-batten-schemas`.
            config: Further settings of the client, by librdkafka's names, such as
                `{"sasl.password": batten.Secret("KAFKA_PASSWORD")}`. By default there are none.
            transactions: Whether each batch is a transaction of the broker; True by default. Give
                False for a broker that can't do transactions. Then a batch may be there twice after
                a crash, and all commands that tell of the destination say so.
            dataset: The name of these rows in tokens; by default the name of the output.
            ledger: If this is the first sink: the output that names the control folder; by default
                `topic`.
            timeout_seconds: How long the broker may say nothing, in seconds; 60 by default. A
                transaction may last as long, at most 15 minutes.

        Returns:
            A new pipeline with this sink.

        Raises:
            UsageError: A name can't be used, or another sink writes there. Nothing was read or
                written.
        """
        from batten.jobs.bounds import check_seconds
        from batten.kafka.connecting import copy_config
        from batten.sinks.kafka.sink import KafkaSink

        check_seconds("timeout_seconds", timeout_seconds)
        sink = KafkaSink(
            topic=topic,
            servers=servers,
            message_key=key,
            format=format,
            schema_registry=schema_registry,
            config=copy_config(config),
            has_transactions=transactions,
            dataset=dataset,
            timeout_seconds=timeout_seconds,
        )
        return self._with_sink(sink, as_written(ledger if ledger is not None else str(topic)))
