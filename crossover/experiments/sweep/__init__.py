"""Two placements over input sizes, workers, cores and link rates: where the quicker one changes."""
