#!/usr/bin/env bash
# Starts one broker of Apache Kafka on 127.0.0.1 from its release folder (KRaft, no ZooKeeper), in a folder of its own
# that is deleted at the end, and runs a command with BATTEN_KAFKA set. It needs Java.
#
#     KAFKA_HOME=/opt/kafka_2.13-4.0.0 tools/kafka.sh .venv/bin/python -m pytest tests/kafka
set -euo pipefail

: "${KAFKA_HOME:?the folder of a release of Apache Kafka, with bin/ and libs/}"
port=${KAFKA_PORT:-9092}
folder=$(mktemp -d)
broker=

finish() {
    if [ -n "$broker" ]; then
        kill "$broker" 2>/dev/null || true
        wait "$broker" 2>/dev/null || true
    fi
    rm -rf "$folder"
}
trap finish EXIT

cat > "$folder/server.properties" <<END
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$((port + 1))
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$((port + 1))
advertised.listeners=PLAINTEXT://127.0.0.1:$port
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
log.dirs=$folder/logs
auto.create.topics.enable=false
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
END

"$KAFKA_HOME/bin/kafka-storage.sh" format -t "$("$KAFKA_HOME/bin/kafka-storage.sh" random-uuid)" \
    -c "$folder/server.properties" > "$folder/format.log"
"$KAFKA_HOME/bin/kafka-server-start.sh" "$folder/server.properties" > "$folder/broker.log" 2>&1 &
broker=$!
for _ in $(seq 60); do
    if "$KAFKA_HOME/bin/kafka-topics.sh" --bootstrap-server "127.0.0.1:$port" --list > /dev/null 2>&1; then
        BATTEN_KAFKA=127.0.0.1:$port "$@"
        exit
    fi
    kill -0 "$broker" 2>/dev/null || break
    sleep 1
done
tail -50 "$folder/broker.log"
exit 1
