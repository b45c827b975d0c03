"""What is recorded of items: keys, versions, digests, files."""
