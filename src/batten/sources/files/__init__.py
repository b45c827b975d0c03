"""Files that a pattern names, on this machine and in object stores."""
