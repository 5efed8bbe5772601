"""Real servers in every sharing mode and a load generator: for demo, tests and benchmarks."""
