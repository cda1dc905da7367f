"""Parity: do the placements of a workload compute the same thing? Asked before their speed is compared."""
