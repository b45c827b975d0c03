"""What lies on disk, as values: names, records and what a field may hold."""
