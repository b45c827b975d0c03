#!/usr/bin/env bash
# Starts one broker of Apache Kafka on 127.0.0.1 (KRaft, no ZooKeeper), runs a command with BATTEN_KAFKA set, and ends
# the broker. What the broker keeps lies in a folder of its own, which is deleted at the end.
#
# It needs Java 17 or later, and Kafka 3.3 or later, in one of two forms: a release that is unpacked, or the jars alone.
#
#     KAFKA_HOME=/opt/kafka_2.13-4.0.0 tools/kafka.sh .venv/bin/python -m pytest tests/kafka
#     KAFKA_JARS=/opt/kafka-jars       tools/kafka.sh .venv/bin/python -m pytest tests/kafka
#
# Maven brings the jars: write a pom.xml that depends on kafka_2.13 and kafka-tools of org.apache.kafka, then run
# mvn dependency:copy-dependencies -DoutputDirectory=/opt/kafka-jars
#
# KAFKA_PORT is the port of the broker, 9092 if it is not set. The port after it is used, too.
set -euo pipefail

fail() {
    echo "tools/kafka.sh: $1" >&2
    exit 2
}

release=${KAFKA_HOME:-}
jars=${KAFKA_JARS:-}
port=${KAFKA_PORT:-9092}
if [ $# -eq 0 ] || [ -z "$release$jars" ]; then
    sed -n '2,/^set /s/^# \{0,1\}//p' "$0" >&2
    fail "name the command to run, and where Kafka is: KAFKA_HOME=… or KAFKA_JARS=…"
fi
command -v java > /dev/null || [ -n "${JAVA_HOME:-}" ] || fail "there is no java on the path"
if [ -n "$release" ]; then
    [ -x "$release/bin/kafka-storage.sh" ] || fail "KAFKA_HOME=$release has no bin/kafka-storage.sh"
    storage=("$release/bin/kafka-storage.sh")
    server=("$release/bin/kafka-server-start.sh")
    topics=("$release/bin/kafka-topics.sh")
else
    compgen -G "$jars/kafka_*.jar" > /dev/null || fail "KAFKA_JARS=$jars has no kafka_….jar"
    compgen -G "$jars/kafka-tools-*.jar" > /dev/null || fail "KAFKA_JARS=$jars has no kafka-tools-….jar"
    storage=(java -cp "$jars/*" kafka.tools.StorageTool)
    server=(java -Xmx1G -cp "$jars/*" kafka.Kafka)
    topics=(java -cp "$jars/*" org.apache.kafka.tools.TopicCommand)
fi
for each in "$port" $((port + 1)); do
    # Tests would use whatever answers there.
    if (exec 3<> "/dev/tcp/127.0.0.1/$each") 2> /dev/null; then
        fail "something listens at port $each already: name another by KAFKA_PORT=…"
    fi
done

folder=$(mktemp -d)
broker=

finish() {
    if [ -n "$broker" ]; then
        kill "$broker" 2> /dev/null || true
        wait "$broker" 2> /dev/null || true
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

{
    id=$("${storage[@]}" random-uuid) &&
        "${storage[@]}" format -t "$id" -c "$folder/server.properties"
} > "$folder/format.log" 2>&1 || {
    tail -50 "$folder/format.log" >&2
    fail "the folder of the broker could not be made"
}
"${server[@]}" "$folder/server.properties" > "$folder/broker.log" 2>&1 &
broker=$!
for _ in $(seq 60); do
    kill -0 "$broker" 2> /dev/null || break
    if "${topics[@]}" --bootstrap-server "127.0.0.1:$port" --list > /dev/null 2>&1; then
        BATTEN_KAFKA=127.0.0.1:$port "$@"
        exit
    fi
    sleep 1
done
tail -50 "$folder/broker.log" >&2
fail "the broker did not start; above are the last lines of its log"
