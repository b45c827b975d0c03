"""The dataset as a run finds it, and what differs from the job that made it."""
