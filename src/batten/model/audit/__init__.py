"""A hand-made job's list of what is done, held against its rows."""
