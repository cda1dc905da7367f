"""Any number of placements side by side: one table at one load, each with intervals against the first."""
