"""Requests that go to a vendor's batch interface, and their answers."""
