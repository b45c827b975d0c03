"""Values as bytes and back, without code."""
