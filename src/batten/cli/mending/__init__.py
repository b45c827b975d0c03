"""Commands that repair and clear up."""
