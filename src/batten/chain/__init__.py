"""Datasets made of datasets: as a source, looked at, run in order, and held against each other."""
