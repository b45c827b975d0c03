"""Looks at destinations: whether they are there, and hold what they were given. Reads only."""
