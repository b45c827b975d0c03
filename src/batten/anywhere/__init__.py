"""Workers on other machines, which find their work in the place of the output."""
