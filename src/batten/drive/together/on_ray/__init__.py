"""Workers that start on the nodes of a Ray cluster, and meet the run like any others."""
