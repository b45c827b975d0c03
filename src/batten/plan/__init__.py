"""The plan: what there is to do, made, extended, and held against the source."""
