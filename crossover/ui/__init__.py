"""`crossover ui`: a local, read-only page that lists past runs and shows two of them beside each other."""
