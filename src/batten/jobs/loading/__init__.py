"""How a job is found and loaded, here and in fresh workers."""
