"""Words, states, tables and accounting: data in, data out; no files, no clock, no randomness."""
