"""Reads a request's tensors, one row per sample, and refuses a request that has no rows.

Triton 2.51 takes a batch of none, and drops its axis: a tensor of shape [0, 5] comes as [5], as if it had five rows.
(A batch of 2**32 is one of none, as Triton counts in 32 bits.) Before the Python backend calls a model it adds up the
first axes of all requests that came together: a sum above `max_batch_size` is an error (500) for all of them, and a sum
of zero is never answered. So the launcher puts an axis of one before each sample's own (`reshape` in the config) and
sets the parameter SAMPLE_AXIS: then a request without rows counts as one row, comes here, and fails alone.
"""

SAMPLE_AXIS = "sample_axis"
NO_ROWS = "the request has no rows: expected a batch of one or more"


class RowReader:
    """Reads the requests of a model with this configuration: model_config of `initialize`, parsed."""

    def __init__(self, config):
        self.batched = config["max_batch_size"] > 0
        self.extra = int(SAMPLE_AXIS in config["parameters"])
        self.ranks = {tensor["name"]: 1 + len(shape(tensor)) for tensor in config["input"]}

    def read(self, request):
        """Return input name -> array [rows, ...], or as it came if the model has no batches; views of the request.

        Raises ValueError if there are no rows.
        """
        return {tensor.name(): self.rows(tensor) for tensor in request.inputs()}

    def rows(self, tensor):
        """Return a tensor as an array [rows, ...]. Raises ValueError if it has no rows."""
        array = tensor.as_numpy()
        if not self.batched:
            return array
        if array.ndim != self.ranks[tensor.name()] or not len(array):
            raise ValueError(NO_ROWS)
        return array[:, 0] if self.extra else array


def shape(tensor):
    """Return the shape of a sample as the model gets it; `tensor` is an entry of the config."""
    return tensor.get("reshape", {}).get("shape", tensor["dims"])


def without_sample_axis(config):
    """Return a configuration without what the launcher changed for the sake of RowReader."""
    if SAMPLE_AXIS not in config["parameters"]:
        return config
    inputs = [{key: value for key, value in tensor.items() if key != "reshape"} for tensor in config["input"]]
    return {**config, "input": inputs}
