"""Everything that touches the kernel: load, attach, prove, read. Wire formats live here only."""
