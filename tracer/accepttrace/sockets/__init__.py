"""Who holds which listener, and how it is shared."""
