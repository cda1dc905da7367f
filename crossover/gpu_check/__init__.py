"""`crossover gpu-check`: what a person with a GPU runs first, and can paste into an issue."""
