"""One output as it lies on disk: the facts, and what they mean. Shared by runs and inspections."""
