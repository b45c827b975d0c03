"""Which work comes next, and which items are tried alone."""
