"""Real servers in every sharing mode, and a load generator: for the demo, the tests and the benchmarks."""
