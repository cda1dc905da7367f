"""The highest Poisson rate of each arm within a latency limit, and what bursts do to it."""
