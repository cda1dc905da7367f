"""The address of a server, as users give it: `localhost:8000`, `[::1]:8000`, `https://example.org/triton/`.

This is the only place that reads an address, so that every command refuses the same ones. A login does not belong into
it, as addresses are printed and written into reports: `common.login` reads one from the environment.
"""

import ipaddress
import json
import re
import ssl
import unicodedata
from dataclasses import dataclass
from http.client import BadStatusLine
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from common import died, plain_file, tls
from common.messages import first_line, name_command

PORT = 8000  # Triton's default
PORTS = {"http": 80, "https": 443}
"""What a proxy's port is where an address has none: one with TLS, or with a path before Triton's own."""
DEFAULT = f"http://localhost:{PORT}"
STATE = Path(__file__).resolve().parent.parent / ".run"  # the state directory of `up` where none is given
states = {STATE}
"""State directories of this call, in which the record of a server that died is looked for."""
EXAMPLE = "expected http[s]://HOST:PORT[/PREFIX], e.g. http://localhost:8000"
NO_HTTP = "what answers there is no HTTP"
LABEL = re.compile(r"[A-Za-z0-9_-]{1,63}")
SEGMENT = re.compile(r"[A-Za-z0-9._~-]+")


@dataclass(frozen=True)
class Address:
    """A host (a name in ASCII, or an IP address without brackets) and a port, and how it is asked."""

    host: str
    port: int
    scheme: str = "http"
    """`http`, or `https`: with TLS."""
    prefix: str = ""
    """What a proxy wants before Triton's own paths: `/triton`; empty without one."""

    @property
    def authority(self) -> str:
        """Host and port as in a URL: `host:port`, with an IPv6 address in brackets."""
        return f"{self.host_in_url}:{self.port}"

    @property
    def host_in_url(self) -> str:
        """The host as in a URL, with an IPv6 address in brackets."""
        return f"[{self.host}]" if ":" in self.host else self.host

    @property
    def host_header(self) -> str:
        """What the Host header says: without the scheme's own port, which proxies that choose by name do not expect."""
        return self.host_in_url if self.port == PORTS[self.scheme] else self.authority

    @property
    def usual_grpc_port(self) -> int:
        """The port of gRPC where nothing else is said: Triton's is HTTP's + 1, a proxy with TLS has one for both."""
        return self.port + (self.scheme == "http")

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port: what a login is given to, and nothing else."""
        return self.scheme, self.host.lower(), self.port

    @property
    def url(self) -> str:
        """The whole address, with its prefix, and without a slash at its end."""
        return f"{self.scheme}://{self.authority}{self.prefix}"


def parse(text: str) -> Address:
    """Read an address; the scheme and the port may be missing.

    Without a port it is Triton's own, or with TLS or a prefix the scheme's, as there a proxy listens. Raises ValueError
    with one line that says what is wrong. It never repeats what may be a secret: neither what stands before an `@` nor
    what follows the port.
    """
    text = text.strip()
    if "@" in text:
        instead = "give it as CROSSOVER_USERNAME and CROSSOVER_PASSWORD in the environment"
        raise ValueError(f"the address holds a user or a password (before an @), which reports would show; {instead}")
    if any(character.isspace() or unicodedata.category(character) == "Cc" for character in text):
        raise ValueError("the address holds a space or a control character; " + EXAMPLE)
    if "\\" in text:
        raise ValueError("the address holds a backslash; " + EXAMPLE)
    scheme, separator, rest = text.partition("://")
    scheme, rest = (scheme.lower(), rest) if separator else ("http", text)
    if scheme not in PORTS:
        raise ValueError(explain_refusal(scheme))
    try:
        parts = urlsplit(f"http://{rest}")
    except ValueError:  # brackets that do not match, characters that normalise to others
        raise ValueError("the address names no host; " + EXAMPLE) from None
    if parts.query or parts.fragment or "?" in rest or "#" in rest:
        raise ValueError("the address has a query, which would not be sent; " + EXAMPLE)
    if parts.netloc.count(":") > 1 and "[" not in parts.netloc:
        raise ValueError("an IPv6 address goes into brackets, e.g. http://[::1]:8000")
    host, prefix = normalise_host(parts.hostname), read_prefix(parts.path)
    return Address(host, read_port(parts, PORTS[scheme] if scheme == "https" or prefix else PORT), scheme, prefix)


def read_prefix(path: str) -> str:
    """Return the path before Triton's own, without a slash at its end.

    Raises ValueError for Triton's paths themselves, and for what proxies and servers would read differently: empty
    segments, dots, and percent signs.
    """
    segments = path.strip("/").split("/") if path.strip("/") else []
    if "v2" in segments:
        raise ValueError("the address has Triton's own path /v2, which is added to it: leave out /v2 and what follows")
    if not all(SEGMENT.fullmatch(each) and each.strip(".") for each in segments):
        raise ValueError(
            "the path in the address may have letters, digits, and . _ ~ - between its slashes; " + EXAMPLE
        )
    return "".join(f"/{each}" for each in segments)


def find_started(state: Path | None = None) -> str:
    """Return the URL of the server that `up` started with this state directory, or STATE; DEFAULT without a record."""
    try:
        return parse(json.loads(plain_file.read((state or STATE) / "server.json"))["address"]).url
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return DEFAULT


def read_record(url: str, state: Path | None = None) -> dict:
    """Return the launcher's record in this state directory, or in STATE, if it is of the server at `url`; else {}."""
    try:
        record = json.loads(plain_file.read((state or STATE) / "server.json"))
        return record if parse(record["address"]) == parse(url.replace("localhost", "127.0.0.1")) else {}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}


def find_death(url: str) -> str:
    """Say in one line that the server at `url`, of one of `states`, has died without `down`; "" if none has."""
    reasons = (died.explain_death(read_record(url, each), each) for each in states)
    return next(filter(None, reasons), "")


def explain_silence(url: str, error: Exception | str) -> str:
    """Say in one line that no Triton server answers at a URL, why, and what to do.

    `error` is what was raised, or a reason in words. Only at Triton's own address is it likely that none was started.
    """
    cause = getattr(error, "reason", None) or error
    if isinstance(cause, BadStatusLine) and not isinstance(cause, OSError):  # one that hung up is both
        cause = NO_HTTP
    if isinstance(cause, json.JSONDecodeError):
        cause = "its answer is no JSON"
    if isinstance(cause, ssl.SSLError):
        return f"no Triton server answers at {parse(url).url}: {tls.explain(cause)}"
    why = first_line(getattr(cause, "strerror", None) or cause) or type(error).__name__
    server = parse(url)
    remedy = (
        f"start it with {name_command('up')}"
        if server.port == PORT
        else "is the address right? `crossover status` has one"
    )
    if death := find_death(url):
        remedy = death
    elif not is_near(server.host):
        remedy = "is the address right?"
    if cause == NO_HTTP:
        remedy = f"is {server.port} its gRPC port?"
    return f"no Triton server answers at {server.url} ({why}); {remedy}"


def is_near(host: str) -> bool:
    """Return whether a host is called as this machine is: what was not started here can be started here."""
    return host in ("localhost", "::1", "0.0.0.0") or host.startswith("127.")


def explain_refusal(scheme: str) -> str:
    """Say in one line why a scheme is refused; an unknown one may be a secret and is not named."""
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


def read_port(parts: SplitResult, default: int) -> int:
    """Return the port of a split URL, `default` if it has none.

    Raises ValueError if it is no number from 1 to 65535.
    """
    try:
        number = default if parts.port is None else parts.port
    except ValueError:
        number = 0
    if not 0 < number < 65536:
        raise ValueError("the address's port must be a number from 1 to 65535; " + EXAMPLE)
    return number
