"""What the tests of traces share: what is drawn from a file or refused of it."""

import numpy as np
import pytest

from arrivals import parse

FUNCTIONS = "HashOwner,HashApp,HashFunction,Trigger," + ",".join(map(str, range(1, 1441)))


def drawn(spec: str, seconds: float = 2000, seed: int = 7) -> np.ndarray:
    return parse(spec).schedule(seconds, seed).times


def refusal(spec: str, seconds: float = 60) -> str:
    """The one line that refuses it."""
    with pytest.raises(ValueError) as error:
        drawn(spec, seconds)
    assert "\n" not in str(error.value)
    return str(error.value).partition(" s: ")[2].replace(spec.partition("=")[2].partition(",")[0], "FILE")


# The public layouts, and what they are read as without kind=.
LAYOUTS = {
    "azure-functions-2021": (
        ["app,func,end_timestamp,duration", "aa,f1,0.079,0.078", "aa,f2,1.9,0.2", "aa,f1,0.821,0.019", "aa,f3,2.5,1.0"],
        [0.001, 0.802, 1.5, 1.7],
    ),
    "azure-llm": (
        [
            "TIMESTAMP,ContextTokens,GeneratedTokens",
            "2023-01-02 03:04:05.6805900,374,44",
            "2023-01-02 03:04:05.9951234,396,109",
            "2023-01-02 03:04:06.1000000,879,55",
        ],
        [0, 0.3145334, 0.41941],
    ),
    "burstgpt": (
        [
            "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type",
            *(f"{at},ChatGPT,10,20,30,API log" for at in (5, 5, 5, 6, 8)),
        ],
        [5, 5, 5, 6, 8],
    ),
    "mooncake": (
        [
            f'{{"timestamp": {at}, "input_length": 600, "output_length": 52, "hash_ids": [0, 1]}}'
            for at in (0, 0, 300, 3000)
        ],
        [0, 0, 0.3, 3],
    ),
}
