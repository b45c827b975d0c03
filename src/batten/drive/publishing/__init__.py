"""Sealed batches on their way to their destinations."""
