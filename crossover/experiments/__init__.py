"""The experiments: each is a folder with `run`, `result` and plots, and none imports another."""
