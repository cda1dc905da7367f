"""What every other folder may import: replacing a file, reading an address, one line of a message, real threads.

Nothing in here knows of Triton, of load or of experiments, and nothing imports more than the standard library.
What `serving` and the packages of the client both need is here, as neither side may import the other.
"""
