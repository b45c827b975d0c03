"""What lies on disk of one output, as it was found: a value."""
