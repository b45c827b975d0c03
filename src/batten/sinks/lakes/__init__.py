"""Destinations that are tables of files: Delta Lake and Iceberg."""
