"""Commands that look at outputs and change none."""
