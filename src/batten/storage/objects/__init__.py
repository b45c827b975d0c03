"""Object stores: S3 and what speaks as it does, Google Cloud Storage, Azure (decision 0107)."""
