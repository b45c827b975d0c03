"""Datasets that are made beside an output, to take its place."""
