"""Which worker got each incoming connection, through which listener, and was it fair."""

__version__ = "0.1.0"
