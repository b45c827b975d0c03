"""Layouts that are not batten's: audited, and told what state they are in."""
