"""The driver: one run from its beginning to its end, work handed out, answers taken."""
