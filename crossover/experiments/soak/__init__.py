"""What grows or drifts over hours of good and damaged files."""
