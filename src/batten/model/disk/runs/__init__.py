"""What is recorded of runs: how they began, what they used, who holds a lock."""
