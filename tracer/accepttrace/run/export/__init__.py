"""Metrics that are served: totals, their text, and the web server."""
