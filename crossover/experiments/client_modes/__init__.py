"""Naive, threaded and asynchronous clients under uniform, Poisson and video arrivals."""
