"""Outputs of other kinds: live trees, and what a stream landed."""
