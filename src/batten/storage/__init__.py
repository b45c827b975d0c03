"""The only owner of durable operations and locks."""
