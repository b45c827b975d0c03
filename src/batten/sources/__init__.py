"""Where items come from. A source can be read many times, from any position, in any process."""
