"""Rows as values of Avro."""
