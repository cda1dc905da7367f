"""What happened: samples, their journal and Parquet files, summaries, and whether a run is VALID."""
