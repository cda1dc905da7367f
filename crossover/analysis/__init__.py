"""Statistics over trials: intervals, verdicts, latency breakdown, crossing points, and their wording."""
