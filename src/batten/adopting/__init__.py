"""What a hand-made job had finished becomes a dataset."""
