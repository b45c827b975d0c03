"""Worker processes: the pool, the nursery that forks them, the worker, and what passes between."""
