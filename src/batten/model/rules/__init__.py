"""What is decided from facts, as tables: states, resuming, recovery, accounts, findings."""
