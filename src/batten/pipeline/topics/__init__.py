"""Topics of Kafka that pipelines begin with."""
