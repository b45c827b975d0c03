"""A cluster of Kafka, asked and connected to: what sources and sinks of topics share."""
