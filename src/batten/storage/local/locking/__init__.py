"""Locks of the kernel, and what is done under them first."""
