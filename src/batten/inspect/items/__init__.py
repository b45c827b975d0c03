"""The items of an output: what is missing, and what failed."""
