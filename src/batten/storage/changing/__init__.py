"""The durable steps: files come to be, are replaced, set aside and removed."""
