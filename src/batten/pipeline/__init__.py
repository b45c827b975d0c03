"""What users build: sources, steps, outputs, and `run`."""
