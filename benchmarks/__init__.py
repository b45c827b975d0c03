"""How fast batten is and what it takes: each figure measured beside what a user would do without.

Run `python -m benchmarks`, or `make bench`. Nothing here is a test: figures are read, not asserted.
"""
