"""Steps that have workers of their own: how those are asked, and how they serve."""
