"""The page of a run: its parts, plots and provenance; it does not know who made the sections."""
