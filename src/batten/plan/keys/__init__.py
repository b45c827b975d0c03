"""Which keys of a source are planned already."""
