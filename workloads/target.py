"""A served model as a client sees it, and how what a client prepared becomes a request to it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from workloads.tensors import Input, Misfit, Prepared, Tensor, describe_object, encode


@dataclass(frozen=True)
class Target:
    """A served model as a client sees it: its inputs, and the outputs asked for."""

    model: str
    inputs: tuple[Input, ...] | None
    """Those that `prepare` gives; None where nothing is known of them."""
    outputs: tuple[str, ...] = ("logits",)
    batched: bool = True
    """Whether the model takes a batch dimension."""
    extra: tuple[Tensor, ...] = ()
    """What every request sends besides, ready to be sent."""

    def encode(self, prepared: Prepared) -> tuple[Tensor, ...]:
        """Return what `prepare` returned as the tensors of one request.

        Raises Misfit if the model does not take it.
        """
        if not isinstance(prepared, Mapping):
            if not isinstance(prepared, bytes | np.ndarray | np.generic):
                raise Misfit(describe_object(prepared), self._claim)
            return encode(self._find_only(), prepared, self.batched), *self.extra
        inputs = tuple(map(Input, prepared)) if self.inputs is None else self.inputs
        known = {each.name: each for each in inputs}
        if unknown := [name for name in prepared if name not in known]:
            raise Misfit(f"an input {unknown[0]!r}", f"{self.model} takes {', '.join(known) or 'none'}")
        if missing := [each.name for each in inputs if not each.optional and each.name not in prepared]:
            raise Misfit(f"no input {missing[0]!r}", f"{self.model} takes {', '.join(known)}")
        return *(encode(known[name], given, self.batched) for name, given in prepared.items()), *self.extra

    @property
    def _claim(self) -> str:
        """What the model takes, as a sentence of an error."""
        if self.inputs and len(self.inputs) == 1:
            return self.inputs[0].claim
        names = ", ".join(each.name for each in self.inputs or () if not each.optional)
        return f"{self.model} takes {f'a dict of {names}' if names else 'an array, or a dict of arrays'}"

    def _find_only(self) -> Input:
        """Return the one input that must be sent. Raises Misfit if there is not one."""
        if self.inputs is None or len(self.inputs) == 1:
            return self.inputs[0] if self.inputs else Input("")
        needed = [each for each in self.inputs if not each.optional]
        if len(needed) != 1:
            names = ", ".join(each.name for each in needed or self.inputs)
            raise Misfit("one array", f"{self.model} takes a dict of {names}")
        return needed[0]


@dataclass(frozen=True)
class Elsewhere:
    """What a preprocessor returns of a payload that another model than its placement's is asked about."""

    target: Target
    prepared: Prepared
