"""The address of a server, as users give it: `localhost:8000`, `http://triton`, `[::1]:8000`.

This is the only place that reads an address, so that every command refuses the same ones. HTTP is spoken in clear text
and without credentials, and Triton's protocol has its paths at the root; an address that asks for more is refused.
"""

import ipaddress
import json
import re
import unicodedata
from dataclasses import dataclass
from http.client import BadStatusLine
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from common.messages import first_line

PORT = 8000  # Triton's default
DEFAULT = f"http://localhost:{PORT}"
STATE = Path(__file__).resolve().parent.parent / ".run"  # the state directory of `up` where none is given
EXAMPLE = "expected http://HOST:PORT, e.g. http://localhost:8000"
NO_HTTP = "what answers there is no HTTP"
LABEL = re.compile(r"[A-Za-z0-9_-]{1,63}")


@dataclass(frozen=True)
class Address:
    """A host (a name in ASCII, or an IP address without brackets) and a port."""

    host: str
    port: int

    @property
    def authority(self) -> str:
        """Host and port as in a URL: `host:port`, with an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The whole address, without a path."""
        return f"http://{self.authority}"


def parse(text: str) -> Address:
    """Read an address; the scheme and the port may be missing.

    Raises ValueError with one line that says what is wrong. It never repeats what may be a secret: neither what stands
    before an `@` nor what follows the port.
    """
    text = text.strip()
    if "@" in text:
        raise ValueError("the address holds a user or a password (before an @), which is not supported; " + EXAMPLE)
    if any(character.isspace() or unicodedata.category(character) == "Cc" for character in text):
        raise ValueError("the address holds a space or a control character; " + EXAMPLE)
    if "\\" in text:
        raise ValueError("the address holds a backslash; " + EXAMPLE)
    scheme, separator, rest = text.partition("://")
    scheme, rest = (scheme.lower(), rest) if separator else ("http", text)
    if scheme != "http":
        raise ValueError(explain_refusal(scheme))
    try:
        parts = urlsplit(f"http://{rest}")
    except ValueError:  # brackets that do not match, characters that normalise to others
        raise ValueError("the address names no host; " + EXAMPLE) from None
    if parts.path.strip("/") or parts.query or parts.fragment or "?" in rest or "#" in rest:
        raise ValueError(
            "the address has a path or a query, which would not be sent: requests go to /v2/... of the host; " + EXAMPLE
        )
    if parts.netloc.count(":") > 1 and "[" not in parts.netloc:
        raise ValueError("an IPv6 address goes into brackets, e.g. http://[::1]:8000")
    return Address(normalise_host(parts.hostname), read_port(parts))


def find_started(state: Path | None = None) -> str:
    """Return the URL of the server that `up` started with this state directory, or STATE; DEFAULT without a record."""
    try:
        return parse(json.loads(((state or STATE) / "server.json").read_text())["address"]).url
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return DEFAULT


def read_record(url: str, state: Path | None = None) -> dict:
    """Return the launcher's record in this state directory, or in STATE, if it is of the server at `url`; else {}."""
    try:
        record = json.loads(((state or STATE) / "server.json").read_text())
        return record if parse(record["address"]) == parse(url.replace("localhost", "127.0.0.1")) else {}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}


def explain_silence(url: str, error: Exception | str) -> str:
    """Say in one line that no Triton server answers at a URL, why, and what to do.

    `error` is what was raised, or a reason in words. Only at Triton's own address is it likely that none was started.
    """
    cause = getattr(error, "reason", None) or error
    if isinstance(cause, BadStatusLine) and not isinstance(cause, OSError):  # one that hung up is both
        cause = NO_HTTP
    why = first_line(getattr(cause, "strerror", None) or cause) or type(error).__name__
    server = parse(url)
    remedy = "start it with `make up`" if server.port == PORT else "is the address right? `crossover status` has one"
    if cause == NO_HTTP:
        remedy = f"is {server.port} its gRPC port?"
    return f"no Triton server answers at {server.url} ({why}); {remedy}"


def explain_refusal(scheme: str) -> str:
    """Say in one line why a scheme other than http is refused; an unknown one may be a secret and is not named."""
    if scheme == "https":
        return "https is not supported yet, and the load would be sent in clear text: give http://HOST:PORT, or a proxy"
    known = scheme if scheme in ("ftp", "ws", "wss", "grpc", "grpcs", "tcp", "unix", "file") else "this scheme"
    return f"{known} is not supported; {EXAMPLE}"


def normalise_host(name: str | None) -> str:
    """Return a host's name as DNS takes it: `bücher.example` becomes `xn--bcher-kva.example`.

    Raises ValueError if it is no name of a host and no IP address.
    """
    try:
        if ":" in (name or ""):
            return str(ipaddress.IPv6Address(name))
        ascii_name = (name or "").encode("idna").decode()
    except (UnicodeError, ValueError):
        ascii_name = ""
    if not all(LABEL.fullmatch(label) for label in ascii_name.removesuffix(".").split(".")):
        raise ValueError("the address names no host; " + EXAMPLE)
    return ascii_name


def read_port(parts: SplitResult) -> int:
    """Return the port of a split URL, PORT if it has none. Raises ValueError if it is no number from 1 to 65535."""
    try:
        number = PORT if parts.port is None else parts.port
    except ValueError:
        number = 0
    if not 0 < number < 65536:
        raise ValueError("the address's port must be a number from 1 to 65535; " + EXAMPLE)
    return number
