"""What is made and delivered whole: a file, a table, what `.apply()` gives."""
