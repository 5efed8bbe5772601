"""Statistics of a split, with nothing beyond the standard library: no I/O, no clock, no state."""
