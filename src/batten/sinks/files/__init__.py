"""Destinations that are files: one file of all rows, and a live tree."""
