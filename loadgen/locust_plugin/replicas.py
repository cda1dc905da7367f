"""How many requests each replica behind a balancing proxy ended in a run, by the replicas' own statistics.

The proxy is not asked, as of several each knows only its own share. A replica is known by its address, so one that was
replaced has another name, and one that started again has counted anew.
"""

import json
import socket
from collections.abc import Collection, Mapping
from contextlib import suppress
from http.client import HTTPException
from typing import Any
from urllib.parse import quote

from common import access, address
from common.address import Address
from workloads.placement import Placement

TIMEOUT = 5.0
"""Seconds that a replica has to tell its statistics."""


class Replicas:
    """The replicas at the places that `--replicas` names, and what each had counted as the run began."""

    def __init__(self, places: str, models: Collection[str]):
        """Count what each replica has ended so far of the requests to `models`.

        Raises ValueError as `parse_places` does, and ConnectionError, with one line, if a place has no address or a
        replica does not tell its statistics.
        """
        self._places, self._models = parse_places(places), models
        self._before = {each.authority: count_requests(each, models) for each in self._find()}

    def _find(self) -> list[Address]:
        return [replica for place in self._places for replica in resolve(place)]

    def count(self) -> dict[str, int | None]:
        """Return replica -> the requests that it ended since; None: not known, as it came, went or started again."""
        counts: dict[str, int | None] = dict.fromkeys(self._before)
        with suppress(ConnectionError):  # where no replica is left, those of the beginning are asked all the same
            counts.update(dict.fromkeys(each.authority for each in self._find()))
        for name in counts.keys() & self._before.keys():
            try:
                since = count_requests(address.parse(name), self._models) - self._before[name]
            except ConnectionError:
                continue
            counts[name] = since if since >= 0 else None
        return counts


def parse_places(text: str) -> list[Address]:
    """Read `HOST:PORT[,HOST:PORT...]`. Raises ValueError with one line if one is no address, or is a proxy's."""
    places = [address.parse(each) for each in text.split(",")]
    if any(each.scheme != "http" or each.prefix for each in places):
        raise ValueError("replicas: each is asked itself, behind the proxy: give HOST:PORT, without https or a path")
    return places


def resolve(place: Address) -> list[Address]:
    """Return every address of a place, sorted: a name in the DNS of a cluster or a swarm stands for all replicas.

    Raises ConnectionError if it has none.
    """
    try:
        found = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ConnectionError(f"replicas: {place.host} has no address: {error.strerror or error}") from None
    return [Address(host, place.port) for host in sorted({str(each[4][0]) for each in found})]


def list_models(placement: Placement) -> list[str]:
    """Return the models that a placement's clients ask."""
    asked = [placement.split.client, placement.split.server] if placement.split else [placement]
    return list(dict.fromkeys(each.model for each in asked))


def count_requests(replica: Address, models: Collection[str]) -> int:
    """Return how many requests to these models a replica has ended, with an answer or an error, since they were loaded.

    The fields are those of Triton's statistics extension. Raises ConnectionError, in one line, if it does not tell.
    """
    return sum(map(count_ended, (read_statistics(replica, each) for each in models)))


def read_statistics(replica: Address, model: str) -> dict[str, Any]:
    """Return a model's statistics at a replica. Raises ConnectionError, in one line."""
    try:
        with access.open_url(f"{replica.url}/v2/models/{quote(model)}/stats", TIMEOUT) as answer:
            read = json.load(answer)
        count_ended(read)
    except (OSError, ValueError, KeyError, TypeError, HTTPException) as error:
        why = str(error) or type(error).__name__
        raise ConnectionError(f"replicas: {replica.authority} does not tell the requests to {model}: {why}") from None
    return read


def count_ended(statistics: Mapping[str, Any]) -> int:
    """Return how many requests a model's statistics count, of all its versions. Raises KeyError, TypeError."""
    versions = [version["inference_stats"] for version in statistics["model_stats"]]
    return sum(int(each[end]["count"]) for each in versions for end in ("success", "fail") if end in each)
