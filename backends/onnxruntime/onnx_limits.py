"""Refuses input before the network sees it, by parameters of the config that the native backend ignores."""

import numpy as np
from onnx_options import parameter, switch

NOT_FINITE = "not finite: NaN or infinity; perf_analyzer sends such by default: give it --input-data zero"


class Limits:
    """`min_elements` and `max_elements` of one sample of any input, and whether floats must be `finite`.

    A run holds no more than `max_elements` either, or one sample; larger batches are split.
    """

    def __init__(self, parameters):
        self.least = parameter(parameters, "min_elements", 0, elements)
        self.most = parameter(parameters, "max_elements", 0, elements)
        self.finite = parameter(parameters, "finite", False, switch)

    def check(self, feed, batched):
        """Raise ValueError, which names the input, if one of the arrays (name -> array) is beyond the limits."""
        for name, array in feed.items():
            count = per_sample(array, batched)
            if count < self.least or (self.most and count > self.most):
                most = f" to {self.most}" if self.most else " or more"
                raise ValueError(f"input '{name}' has {count} elements, expected {self.least}{most}")
            if self.finite and array.dtype.kind == "f" and not np.isfinite(array).all():
                raise ValueError(f"input '{name}' has values that are {NOT_FINITE}")

    def rows(self, feed):
        """Return how many samples go into one run, by the input with the largest samples; None for all of them."""
        largest = max(per_sample(array, True) for array in feed.values())
        return max(1, self.most // max(largest, 1)) if self.most else None


def per_sample(array, batched):
    """Return how many elements one sample of this array has."""
    return array[0].size if batched else array.size


def elements(text):
    """a whole number of elements, or 0 for no limit"""
    if not text.isdecimal():
        raise ValueError
    return int(text)
