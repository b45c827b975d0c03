"""The rows of a batch as a destination can take them."""
