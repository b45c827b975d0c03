"""Asks a topic what it has of a dataset, and changes nothing: `batten verify --ask`.

The recorded address has no secrets, so only a broker that asks for none can be asked.
"""

from __future__ import annotations

from batten.kafka.cluster import Cluster, list_made_anew
from batten.model.disk.destinations.delivery import Delivery
from batten.sinks.kafka.failures import translated
from batten.sinks.kafka.tokens import TokenLog, find_latest_ends


def ask_topic(given: Delivery, seconds: float) -> tuple[set[int], list[str]]:
    """The batches that it has tokens of, and what tells that the topic is not the one that got
    them, in words. Raises `StorageError` where there is no answer."""
    where = given.where
    cluster = Cluster(where.server, {}, seconds)
    log = TokenLog(cluster, where.table)
    try:
        with translated("Asking", given.target, {}):
            log.read_to_end(lambda: None)
            kept = log.list_kept(given.dataset)
            topic = cluster.find_topic(where.table)
            if topic is None:
                return set(kept), ["it is gone"]
            ids = [each.topic_id for each in kept.values()]
            now = cluster.find_ends(where.table, topic.partitions)
            return set(kept), list_made_anew(find_latest_ends(kept.values()), now, [*ids, topic.id])
    finally:
        log.close()
        cluster.close()
