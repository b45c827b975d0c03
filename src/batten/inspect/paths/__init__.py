"""From the paths that a user names to outputs, and whether they are free."""
