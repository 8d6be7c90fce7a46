"""Inputs that the tests and the benchmarks of the operators share."""
