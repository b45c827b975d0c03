"""Many files of a live tree are changed together, all or none."""
