"""What is recorded of destinations, and what they keep themselves."""
