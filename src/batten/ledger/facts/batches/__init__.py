"""What is known of batches, by their records and by the parts themselves."""
