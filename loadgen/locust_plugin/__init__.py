"""The load generator inside Locust: a user, its options, live figures, workers, and the web page."""
