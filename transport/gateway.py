"""Asks a gateway in place of a server, over HTTP; what goes wrong on the way to it names it."""

from dataclasses import replace

from transport import http
from transport.message import COMPLETED, Outcome, Request


class Connection(http.Connection):
    """A keep-alive connection to the gateway at `url`, for one thread; see `message` for the interface."""

    def __init__(self, url: str, timeout: float):
        if not url:
            raise ValueError("nobody has started a gateway: only the commands of `crossover` measure this placement")
        super().__init__(url, timeout)
        self._name = f"the gateway at {url.removeprefix('http://')}"

    def post(self, request: Request) -> Outcome:
        """Send the request and wait for the whole answer, as over HTTP; a refusal is in the words of who refused."""
        outcome = super().post(request)
        if outcome.status == COMPLETED or outcome.reason.startswith("HTTP "):
            return outcome
        return replace(outcome, reason=f"{self._name}: {outcome.reason}")
