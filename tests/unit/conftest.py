"""Invented input: the same at every run, and so much that all of it takes a few seconds."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile(
    "bounded", derandomize=True, max_examples=100, deadline=None, database=None
)
settings.load_profile("bounded")
