"""What lies in a cache, as values: names, keys, manifests."""
