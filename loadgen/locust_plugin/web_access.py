"""Who may use Locust's page: this machine, no other site's pages, and strangers only with a password.

Whoever may use the page can do what the user who started it may: send any load anywhere, with any file that he can
read as a payload. Locust itself listens on all interfaces, answers to any name, takes commands from any page that a
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
from flask import redirect, request, session, url_for
from flask_login import UserMixin, login_user
from locust import events


@events.init_command_line_parser.add_listener
def loopback(parser) -> None:
    """The page, and the port where a master waits for its workers, are this machine's unless asked otherwise."""
    parser.set_defaults(web_host="127.0.0.1", master_bind_host="127.0.0.1")


def local(host: str) -> bool:
    """Whether no stranger can own this name: an address, a name without a dot, or the name of this machine.

    A page can point a name of its own at 127.0.0.1 (DNS rebinding), and is then of one origin with what answers there.
    """
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return "." not in name or name == socket.gethostname().lower() or bool(ipaddress.ip_address(name))
    except ValueError:
        return False


def foreign(headers, any_name: bool = False) -> str | None:
    """Why a request is refused that another site's page may have made a browser send; None where it cannot be that.

    Browsers say with every POST, and with every GET whose answer a script may read, which page it comes from.
    """
    host = headers.get("Host", "")
    if not (any_name or local(host)):
        return f"this page does not answer to the name {host!r}: open it by its address, or start it with --web-login"
    origin = headers.get("Origin")
    if origin is not None and origin.partition("://")[2].lower() != host.lower():
        return f"refused: it was sent by a page of {origin!r}, not of {host!r}"
    return None


def add_login(web_ui, password: str) -> None:
    """Locust's login page, with this password; what name is given does not matter."""

    class Someone(UserMixin):
        id = "user"

    base = web_ui.environment.parsed_options.web_base_path
    web_ui.app.config.update(SECRET_KEY=secrets.token_bytes(), SESSION_COOKIE_SAMESITE="Strict")
    web_ui.auth_args = {"username_password_callback": f"{base}/enter"}
    web_ui.login_manager.user_loader(lambda _: Someone())

    @web_ui.app.post(f"{base}/enter")
    def enter():
        if hmac.compare_digest(request.form.get("password", "").encode(), password.encode()):
            login_user(Someone())
            return redirect(url_for("locust.index"))
        gevent.sleep(1)
        session["auth_error"] = "wrong password"
        return redirect(url_for("locust.login"))


def protect(web_ui) -> None:
    """Keeps other sites' pages out, and strangers behind a login, unless something else is said to keep them out."""
    if web_ui.web_login:
        password = os.environ.get("CROSSOVER_WEB_PASSWORD")
        if not password:
            print("--web-login: put the password that it shall ask for into CROSSOVER_WEB_PASSWORD", file=sys.stderr)
            sys.exit(2)
        add_login(web_ui, password)
    elif web_ui.host not in ("127.0.0.1", "::1", "localhost") and os.environ.get("CROSSOVER_WEB_OPEN") != "1":
        print(
            f"--web-host {web_ui.host or '0.0.0.0'}: who reaches Locust's page can send loads and this user's files "
            "anywhere; add --web-login, or say CROSSOVER_WEB_OPEN=1 where something else keeps strangers out",
            file=sys.stderr,
        )
        sys.exit(2)

    @web_ui.app.before_request
    def refuse_foreign():
        reason = foreign(request.headers, any_name=web_ui.web_login)
        return (reason, 403) if reason else None

    @web_ui.app.after_request
    def refuse_frames(response):
        response.headers["X-Frame-Options"] = "SAMEORIGIN"
        return response
