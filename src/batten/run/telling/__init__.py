"""What is told of a run while it goes on and when it ends: events, records, its log."""
