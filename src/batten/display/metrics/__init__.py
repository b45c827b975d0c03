"""Counts and times of a run, for programs that watch it."""
