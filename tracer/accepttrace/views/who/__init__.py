"""The answer of `accepttrace who`: a tree for people (`tree`), objects for programs (`objects`)."""
