"""Results that are kept: content-addressed, shared by any number of processes."""
