"""Fuzzing: where it begins, what it calls, and what is watched."""
