"""Calling the user's functions: tries, results, caches, failures."""
