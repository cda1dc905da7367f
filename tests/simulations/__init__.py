"""Simulated worlds whose truth is known, for tests of the statistics and for the tables of docs/statistics.md."""
