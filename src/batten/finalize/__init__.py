"""Of a whole dataset a second one is made."""
