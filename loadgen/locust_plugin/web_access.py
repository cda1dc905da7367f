"""Control access to Locust's page: this machine may use it, pages of other sites may not, others need a password.

Whoever may use the page can do what the user who started it may: send any load anywhere, with any file that this user
can read as a payload. Locust itself listens on all interfaces, answers to any name, takes commands from any page that a
browser has open, and has a login page that lets nobody in.
"""

import hmac
import ipaddress
import os
import secrets
import socket
import sys
from urllib.parse import urlsplit

import gevent
from flask import Response, redirect, request, session, url_for
from flask_login import UserMixin, login_user
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException

POLICY = "Content-Security-Policy"
NO_SCRIPT = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; frame-ancestors 'self'"
"""Of every answer that has no policy of its own: nothing in it runs or is loaded, whatever a browser takes it for."""
LOCUST_PAGE = "object-src 'none'; base-uri 'none'; frame-ancestors 'self'"
"""Of Locust's own pages, whose scripts stand in them."""

FOREIGN = ("cross-site", "same-site")
"""Sec-Fetch-Site of what another site's page, or one of the same name at another port, has a browser fetch."""


def is_local_name(host: str) -> bool:
    """Return True if nobody else can own this name: an address, a name without a dot, or this machine's name.

    The owner of a name can point it at 127.0.0.1 (DNS rebinding); a page from there then shares the origin of whatever
    answers on this machine.
    """
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return "." not in name or name == socket.gethostname().lower() or bool(ipaddress.ip_address(name))
    except ValueError:
        return False


def reject_cross_site(headers: Headers, any_name: bool = False) -> str | None:
    """Return why a request is rejected that a page of another site may have caused; None if it is allowed.

    Browsers send the Origin header with every POST, and with every GET whose answer a script may read; with others they
    say in Sec-Fetch-Site where it comes from, and a link that somebody follows is let in (Sec-Fetch-Dest: document).
    `any_name` allows every Host, where a login protects the page.
    """
    host = headers.get("Host", "")
    if not (any_name or is_local_name(host)):
        return f"this page does not answer to the name {host!r}: open it by its address, or start it with --web-login"
    origin = headers.get("Origin")
    if origin is not None and origin.partition("://")[2].lower() != host.lower():
        return f"rejected: it was sent by a page of {origin!r}, not of {host!r}"
    if headers.get("Sec-Fetch-Site") in FOREIGN and headers.get("Sec-Fetch-Dest") != "document":
        return f"rejected: a page of another site than {host!r} asks for it, and not its reader"
    return None


def add_login(web_ui, password: str) -> None:
    """Add Locust's login page with this password; any user name is accepted."""

    class AnyUser(UserMixin):
        id = "user"

    base = web_ui.environment.parsed_options.web_base_path
    web_ui.app.config.update(SECRET_KEY=secrets.token_bytes(), SESSION_COOKIE_SAMESITE="Strict")
    web_ui.auth_args = {"username_password_callback": f"{base}/enter"}
    web_ui.login_manager.user_loader(lambda _: AnyUser())

    @web_ui.app.post(f"{base}/enter")
    def enter():
        # Takes the same time whichever character is wrong.
        if hmac.compare_digest(request.form.get("password", "").encode(), password.encode()):
            login_user(AnyUser())
            return redirect(url_for("locust.index"))
        gevent.sleep(1)  # slows down guessing
        session["auth_error"] = "wrong password"
        return redirect(url_for("locust.login"))


def protect(web_ui) -> None:
    """Reject cross-site requests, and require a login where the page is not on loopback.

    Exits with code 2 if others could reach the page without a login, unless CROSSOVER_WEB_OPEN=1 says that something
    else keeps them out. `web_ui` is Locust's.
    """
    if web_ui.web_login:
        password = os.environ.get("CROSSOVER_WEB_PASSWORD")
        if not password:
            print("--web-login: set the environment variable CROSSOVER_WEB_PASSWORD to the password", file=sys.stderr)
            sys.exit(2)
        add_login(web_ui, password)
    elif web_ui.host not in ("127.0.0.1", "::1", "localhost") and os.environ.get("CROSSOVER_WEB_OPEN") != "1":
        print(
            f"--web-host {web_ui.host or '0.0.0.0'}: whoever reaches Locust's page can send load and this user's files "
            "anywhere; add --web-login, or set CROSSOVER_WEB_OPEN=1 if something else keeps strangers out",
            file=sys.stderr,
        )
        sys.exit(2)

    @web_ui.app.before_request
    def reject_others():
        reason = reject_cross_site(request.headers, any_name=web_ui.web_login)
        return say_plainly(reason, 403) if reason else None

    # Without it werkzeug answers an unknown address with a page.
    @web_ui.app.errorhandler(HTTPException)
    def refuse_address(error):
        return error if error.response else say_plainly(error.description or error.name, error.code)

    web_ui.app.after_request(harden)


def say_plainly(text: str, status: int) -> Response:
    """Return an answer of plain text, which may repeat what a stranger has sent: no browser takes it for a page."""
    return Response(text, status, mimetype="text/plain")


def harden(response: Response) -> Response:
    """Let no browser take an answer for what it is not, run a script that someone put into it, or frame it elsewhere.

    Locust answers an error with its text and calls that HTML: here it is plain text.
    """
    if response.status_code >= 400 and response.mimetype == "text/html":
        response.mimetype = "text/plain"
    response.headers["X-Frame-Options"] = "SAMEORIGIN"
    response.headers["X-Content-Type-Options"] = "nosniff"
    is_locust_page = response.mimetype == "text/html" and request.blueprint == "locust"
    response.headers.setdefault(POLICY, LOCUST_PAGE if is_locust_page else NO_SCRIPT)
    return response
