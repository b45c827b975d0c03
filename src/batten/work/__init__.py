"""What is done in a worker: calls, chunks, sealed batches."""
