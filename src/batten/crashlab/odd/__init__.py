"""Folders, records, tables and values that are odd where it hurts."""
