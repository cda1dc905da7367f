"""How a server is reached that asks for more than an address: whom to believe (TLS), and the login to send.

A command grants the access to the server that its user named, once, with `grant`; whoever sends a request finds it with
`find`. What is granted belongs to one origin (scheme, host, port): no other gets the login, and as no redirect is
followed, none can be sent for it.
"""

import io
import ipaddress
import os
import ssl
import urllib.error
import urllib.request
import zlib
from dataclasses import dataclass, field
from functools import cached_property
from http.client import HTTPException, HTTPResponse
from typing import Any
from urllib.response import addinfourl

from common import login, tls
from common.address import Address, explain_silence, parse
from common.content_coding import decode
from common.messages import first_line

TIMEOUT = 10.0  # seconds for the answer to `check`


@dataclass(frozen=True)
class Access:
    """What requests to one origin need beside their address."""

    ca_file: str = ""
    """The certificates (PEM) of the authorities that are believed; empty: the system's."""
    insecure: bool = False
    """Whether any certificate is taken."""
    authorization: str = field(default="", repr=False)
    """The value of the Authorization header; empty without a login. Never printed."""

    @property
    def context(self) -> ssl.SSLContext:
        """What connections with TLS are made with."""
        return tls.make_context(self.ca_file, self.insecure)

    @property
    def headers(self) -> dict[str, str]:
        """The headers that every request carries."""
        return {"Authorization": self.authorization} if self.authorization else {}

    @cached_property
    def opener(self) -> urllib.request.OpenerDirector:
        """Opens https URLs of this origin."""
        return make_opener(urllib.request.HTTPSHandler(context=self.context))


class Unpacked(addinfourl):
    """An answer whose body has been unpacked."""

    msg = ""
    """The words beside its status code."""


class Unpacking(urllib.request.BaseHandler):
    """Unpacks answers that are compressed, before their status is looked at."""

    handler_order = 100  # HTTPErrorProcessor has 1000

    def http_response(self, request: urllib.request.Request, response: HTTPResponse) -> Any:
        """Return the answer, unpacked. Raises HTTPException for what cannot be."""
        coding = response.headers.get("Content-Encoding", "")
        if coding.lower() in ("", "identity"):
            return response
        try:
            content = decode(response.read(), coding.encode())
        except (ValueError, zlib.error) as error:
            raise HTTPException(f"unreadable answer: {error}") from None
        unpacked = Unpacked(io.BytesIO(content), response.headers, request.full_url, response.status)
        unpacked.msg = response.reason
        return unpacked

    https_response = http_response


def make_opener(handler: urllib.request.BaseHandler) -> urllib.request.OpenerDirector:
    """Return what opens URLs with this handler, and has none for redirects and for the environment's proxies.

    A redirect is an HTTPError then; the standard library would send the login to wherever it leads.
    """
    opener = urllib.request.OpenerDirector()
    processors = Unpacking(), urllib.request.HTTPErrorProcessor()
    for each in (handler, urllib.request.HTTPDefaultErrorHandler(), *processors):
        opener.add_handler(each)
    return opener


clear_text = make_opener(urllib.request.HTTPHandler())
NONE = Access()
"""No login, and the system's authorities."""
_granted: dict[tuple[str, str, int], Access] = {}


def grant(url: str, ca_file: str = "", insecure: bool = False, with_login: bool = True) -> Access:
    """Say how the server at `url` is reached from now on, by this process, and return that.

    The login is the environment's, unless `with_login` is false. Raises ValueError, in one line without a secret, for
    an address, a file or a login that cannot be used, and for options that contradict each other or the address.
    """
    server = parse(url)
    if (ca_file or insecure) and server.scheme != "https":
        flag = "--cacert" if ca_file else "--insecure"
        raise ValueError(f"{flag} is about TLS, and {server.url} is without: give https://...")
    if ca_file and insecure:
        raise ValueError("--cacert and --insecure contradict each other: check the certificate, or take any")
    tls.check_ca_file(ca_file)
    authorization = login.read_authorization(os.environ) if with_login else ""
    _granted[server.origin] = access = Access(ca_file, insecure, authorization)
    return access


def grant_without_login(url: str, ca_file: str, insecure: bool) -> None:
    """Say how a server is reached that another than this process's user has named: as granted before, or with no login.

    For such a server the options hold where they can. Raises ValueError as `grant` does.
    """
    server = parse(url)
    if server.origin not in _granted and server.scheme == "https":
        grant(url, ca_file, insecure, with_login=False)


def find(server: Address) -> Access:
    """Return how a server is reached: as granted, else without a login."""
    return _granted.get(server.origin, NONE)


def open_url(request: urllib.request.Request | str, timeout: float) -> HTTPResponse:
    """Open an http or https URL, or a request to one, with what was granted to its origin.

    Raises HTTPError, for redirects too, and what else urllib raises.
    """
    whole = urllib.request.Request(request) if isinstance(request, str) else request
    access = find(parse(f"{whole.type}://{whole.host}"))
    for name, value in access.headers.items():
        whole.add_unredirected_header(name, value)
    return (access.opener if whole.type == "https" else clear_text).open(whole, timeout=timeout)


def check(url: str) -> None:
    """Ask the server at `url` what it is, with what was granted, so that no run begins in vain.

    Raises ValueError, in one line that says what to do, if its certificate does not fit, it wants another login, or it
    is elsewhere.
    Everything else, also that nothing answers, is left to those who ask it next.
    """
    server = parse(url)
    try:
        open_url(f"{server.url}/v2", TIMEOUT).close()
    except urllib.error.HTTPError as refusal:
        refusal.close()
        check_status(server, refusal.code, refusal.headers.get("Location", ""))
    except (OSError, HTTPException, ValueError) as error:
        if isinstance(getattr(error, "reason", None) or error, ssl.SSLError):
            raise ValueError(explain_silence(server.url, error)) from None


def check_status(server: Address, code: int, location: str) -> None:
    """Raise ValueError, in one line that says what to do, for a login that is not good and for a redirect.

    `location` is where the answer with this status code redirects to; empty if nowhere.
    """
    if 300 <= code < 400 and location:
        where = first_line(location)
        raise ValueError(f"{server.url} redirects to {where}; no redirect is followed: give the right address")
    authorization = find(server).authorization
    scheme = authorization.partition(" ")[0]
    sent = {"Bearer": login.TOKEN, "Basic": f"{login.USER} and {login.PASSWORD}"}.get(scheme)
    if code in (401, 407) and sent:
        raise ValueError(f"{server.url} does not take the login of {sent} (HTTP {code}): wrong, or run out?")
    if code in (401, 407):
        how = f"set {login.TOKEN}, or {login.USER} and {login.PASSWORD}, in the environment"
        raise ValueError(f"{server.url} asks for a login (HTTP {code}): {how}, and name the server by --url (--host)")
    if code == 403 and sent:
        raise ValueError(f"{server.url} forbids this to the login of {sent} (HTTP 403): has it the right?")


def warnings(url: str) -> list[str]:
    """Return lines that say what is not protected on the way to the server at `url`; none if all is well."""
    server, lines = parse(url), []
    access = find(server)
    if access.insecure:
        lines.append(
            f"the certificate of {server.url} is not checked (--insecure): whoever is between can read and alter"
        )
    if access.authorization and server.scheme == "http" and not is_loopback(server.host):
        lines.append(f"the login is sent in clear text to {server.url}: whoever is between can take it; use https://")
    return lines


def is_loopback(host: str) -> bool:
    """Return whether what is sent to a host stays on this machine, by its name alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"
