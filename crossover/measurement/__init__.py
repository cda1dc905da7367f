"""Measuring: a trial, its retries, the server's counters, the machine, and how a run is resumed."""
