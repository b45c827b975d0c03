"""Commands that make, run and begin jobs."""
