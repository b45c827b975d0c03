"""The twin of a folder in memory, which can lose power: for tests."""
