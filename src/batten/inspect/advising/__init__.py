"""What is said of a state: why, what next, what not to do, what will happen again."""
