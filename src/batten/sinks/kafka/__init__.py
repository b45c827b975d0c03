"""Topics of Kafka as destinations."""
