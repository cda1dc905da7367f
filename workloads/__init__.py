"""What is asked: the only place that knows a pipeline, its placements and its payloads."""
