"""Reads every byte, and holds it against what was recorded."""
