"""Runs one pipeline: what the user builds, what workers do, what the driver publishes."""
