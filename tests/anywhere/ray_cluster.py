"""A Ray cluster of two nodes on the loopback, until standard input ends; tells where it is."""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile

CPUS = 2
OBJECT_STORE_BYTES = 80_000_000


def main() -> None:
    told = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    # Paths of sockets are short.
    with tempfile.TemporaryDirectory(prefix="r") as folder:
        os.environ["RAY_TMPDIR"] = folder
        from ray.cluster_utils import Cluster

        node = {"num_cpus": CPUS, "object_store_memory": OBJECT_STORE_BYTES}
        head = {**node, "include_dashboard": False, "node_ip_address": "127.0.0.1"}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        try:
            other = cluster.add_node(**node)
            raylets = [
                process.process.pid
                for each in (cluster.head_node, other)
                for process in each.all_processes["raylet"]
            ]
            head = cluster.head_node.all_processes["gcs_server"][0].process.pid
            found = {"address": cluster.address, "raylets": raylets, "head": head}
            print(json.dumps(found), file=told, flush=True)
            # Ray's own handler waits for ever if the signal comes while the cluster is ended.
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            sys.stdin.read()
        finally:
            cluster.shutdown()


if __name__ == "__main__":
    main()
