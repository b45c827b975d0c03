"""Files of a dataset, read without believing what they say."""
