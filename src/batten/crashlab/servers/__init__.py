"""Servers of this machine for tests, and relays that fail at will."""
