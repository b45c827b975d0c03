"""A folder of this machine: files, locks, links, whole folders, the live tree."""
