"""Runs that are kept: what was read, in files that can be read again."""
