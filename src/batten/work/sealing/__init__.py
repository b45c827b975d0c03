"""From the finished pieces of a batch to the bytes of its part, and back."""
