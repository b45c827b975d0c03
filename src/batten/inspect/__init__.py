"""Looks at what is on disk, and repairs it."""
