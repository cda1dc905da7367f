"""What every other folder may import: replacing a file, reading an address, making a message one line.

Nothing in here knows of Triton, of load or of experiments, and nothing imports more than the standard library.
`serving` and `loadgen` both need these three and may not import each other.
"""
