"""What a cache holds, how much it may, and what is cleared away."""
