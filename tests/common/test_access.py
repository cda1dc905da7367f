"""Laws of the login: one server gets it, no message and no other host; what contradicts itself is refused."""

import base64

import pytest

from common import access, address, login, tls

SECRET = "hunter2"


@pytest.fixture(autouse=True)
def without_login(monkeypatch):
    """The environment has no login, and nothing has been granted."""
    for name in login.NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(access, "_granted", {})


def test_a_token_and_a_user_become_the_headers_of_their_rfcs():
    assert login.read_authorization({login.TOKEN: "abc.DEF-1_~+/="}) == "Bearer abc.DEF-1_~+/="
    basic = login.read_authorization({login.USER: "Jörg", login.PASSWORD: "a:b"})
    assert base64.b64decode(basic.removeprefix("Basic ")).decode() == "Jörg:a:b"
    assert login.read_authorization({login.USER: "me", login.PASSWORD: ""}) == "Basic bWU6"
    assert login.read_authorization({login.TOKEN: ""}) == login.read_authorization({}) == ""


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({login.TOKEN: f"{SECRET}\r\nHost: b"}, "CROSSOVER_TOKEN holds a space"),
        ({login.TOKEN: f"Bearer {SECRET}"}, "is it the token alone?"),
        ({login.TOKEN: f"{SECRET}ü"}, "no ASCII"),
        ({login.TOKEN: SECRET, login.USER: "me"}, "both set"),
        ({login.PASSWORD: SECRET}, "CROSSOVER_USERNAME is not"),
        ({login.USER: SECRET}, "CROSSOVER_PASSWORD is not"),
        ({login.USER: f"{SECRET}:", login.PASSWORD: "x"}, "the user no colon"),
        ({login.USER: "me", login.PASSWORD: f"{SECRET}\n"}, "no control character"),
    ],
)
def test_a_login_that_no_header_carries_is_refused_without_being_repeated(environment, says):
    with pytest.raises(ValueError, match=says) as refused:
        login.read_authorization(environment)
    assert SECRET not in str(refused.value)


def test_the_login_is_the_one_servers_that_was_named(monkeypatch):
    monkeypatch.setenv(login.TOKEN, SECRET)
    access.grant("https://a.example/triton")
    same = access.find(address.parse("https://A.example:443"))
    assert same.headers == {"Authorization": f"Bearer {SECRET}"}
    assert SECRET not in repr(same)
    for other in ("http://a.example:443", "https://a.example:8443", "https://b.a.example", "https://a.example.org"):
        assert access.find(address.parse(other)).headers == {}
    access.grant_without_login("https://b.example", "", True)
    assert access.find(address.parse("https://b.example")) == access.Access(insecure=True)


@pytest.mark.parametrize(
    ("url", "options", "says"),
    [
        ("http://a", {"ca_file": "x.pem"}, "--cacert is about TLS"),
        ("http://a", {"insecure": True}, "--insecure is about TLS"),
        ("https://a", {"insecure": True, "ca_file": "x.pem"}, "contradict"),
        ("https://a", {"ca_file": "none.pem"}, "--cacert none.pem: No such file"),
        ("https://a", {"ca_file": "/"}, "it is a folder"),
        ("https://a", {"ca_file": __file__}, "no certificate in PEM form"),
    ],
)
def test_options_that_do_not_fit_are_refused_in_one_line(url, options, says):
    with pytest.raises(ValueError, match=says) as refused:
        access.grant(url, **options)
    assert "\n" not in str(refused.value)


def test_what_the_way_leaves_open_is_said(monkeypatch):
    assert access.warnings("https://a.example") == access.warnings("http://a.example") == []
    monkeypatch.setenv(login.TOKEN, SECRET)
    for url in ("http://localhost:8000", "http://127.0.0.1:80", "http://[::1]:8000", "https://a.example"):
        access.grant(url)
        assert access.warnings(url) == []
    access.grant("http://a.example")
    [line] = access.warnings("http://a.example")
    assert "clear text" in line and SECRET not in line
    access.grant("https://a.example", insecure=True)
    assert "not checked" in access.warnings("https://a.example")[0]


def test_a_context_checks_unless_it_is_told_not_to():
    assert tls.make_context().check_hostname and tls.make_context().verify_mode == tls.ssl.CERT_REQUIRED
    assert not tls.make_context(insecure=True).check_hostname
    assert tls.make_context().minimum_version >= tls.ssl.TLSVersion.TLSv1_2


def test_a_server_that_is_started_does_not_inherit_the_login():
    environment = {"PATH": "/bin", login.TOKEN: SECRET, login.USER: SECRET, login.PASSWORD: SECRET}
    assert login.without(environment) == {"PATH": "/bin"}
