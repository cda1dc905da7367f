"""The quick table: load against throughput, latency and CPU."""
