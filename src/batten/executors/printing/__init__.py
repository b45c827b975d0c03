"""What functions print, and the last line of a terminal."""
