"""Processes that are traced, call by call."""
