"""Records of files: CSV, JSON Lines, Parquet."""
