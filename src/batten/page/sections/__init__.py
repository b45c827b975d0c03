"""The parts of a page: the state, the failures, the history."""
