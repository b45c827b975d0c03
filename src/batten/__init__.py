"""Run a function over everything, get a dataset you can trust. Kill it anywhere, run it again."""
