"""How bytes, names and modes get to the disk of this machine."""
