"""Which keys of a source are planned already, which are new, and which are duplicates."""
