"""The load generator's own metrics, for Prometheus: what they count, and the page that shows them."""
