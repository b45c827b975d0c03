"""What an item is: its key, and whether it is still what it was."""
