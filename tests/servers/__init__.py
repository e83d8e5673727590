"""Real servers on loopback, and the small fault server of ours, for the tests and the benchmarks."""
