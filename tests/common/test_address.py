"""Laws of the address of a server: one reader for all commands, one line for what it refuses, and no secret in it."""

import pytest

from common import address


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("localhost:8010", "http://localhost:8010"),
        ("http://triton", "http://triton:8000"),
        ("HTTP://triton:81/", "http://triton:81"),
        ("HTTPS://triton", "https://triton:443"),
        ("https://triton:8000", "https://triton:8000"),
        ("https://example.org/triton/", "https://example.org:443/triton"),
        ("http://example.org/a/b-1.2~c", "http://example.org:80/a/b-1.2~c"),
        ("triton:81/v1", "http://triton:81/v1"),
        ("  http://10.0.0.7:8010\n", "http://10.0.0.7:8010"),
        ("[::1]", "http://[::1]:8000"),
        ("http://[2001:db8::7]:8010/", "http://[2001:db8::7]:8010"),
        ("http://bücher.example", "http://xn--bcher-kva.example:8000"),
        ("loadgen_server-1:8000", "http://loadgen_server-1:8000"),
    ],
)
def test_what_is_left_out_has_its_default_and_what_is_read_is_written_in_one_form(text, url):
    assert address.parse(text).url == address.parse(url).url == url


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("ftp://triton", "ftp is not supported"),
        ("http://triton:8000/v2", "leave out /v2"),
        ("triton/a/v2/models/image/infer", "leave out /v2"),
        ("http://triton/a//b", "the path in the address"),
        ("http://triton/a/../b", "the path in the address"),
        ("http://triton/a%2fb", "the path in the address"),
        ("http://triton?key=1", "has a query"),
        ("http://triton#", "has a query"),
        ("http://triton:0", "from 1 to 65535"),
        ("http://triton:65536", "from 1 to 65535"),
        ("http://triton:http", "from 1 to 65535"),
        ("http://tri ton", "space"),
        ("http://tri\tton", "space or a control character"),
        ("http://triton\\v2", "backslash"),
        ("::1", "brackets"),
        ("http://[::1", "names no host"),
        ("http://[::g]", "names no host"),
        ("http://:8000", "names no host"),
        ("http://", "names no host"),
        ("", "names no host"),
        ("http://a..b", "names no host"),
        ("http://a,b", "names no host"),
        ("http://" + "a" * 64, "names no host"),
    ],
)
def test_what_cannot_be_an_address_is_refused_in_one_line_that_says_why(text, why):
    with pytest.raises(ValueError) as refused:
        address.parse(text)
    assert why in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "text",
    ["http://me:hunter2@triton", "me:hunter2@triton:8000", "http://triton:hunter2", "http://triton/?key=hunter2",
     "hunter2://triton", "http://[hunter2", "http://hunter2 @x", "https://me:hunter2@triton"],
)  # fmt: skip
def test_no_refusal_repeats_what_may_be_a_secret(text):
    with pytest.raises(ValueError) as refused:
        address.parse(text)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "header"),
    [("https://a.example", "a.example"), ("http://a.example/b", "a.example"), ("https://[::1]", "[::1]"),
     ("a.example", "a.example:8000"), ("https://a.example:80", "a.example:80")],
)  # fmt: skip
def test_a_proxy_that_chooses_by_name_sees_no_port_where_it_is_the_schemes_own(text, header):
    assert address.parse(text).host_header == header


def test_an_ipv6_address_has_brackets_in_a_url_and_none_where_it_is_connected_to():
    found = address.parse("[::1]:8010")
    assert (found.host, found.port, found.authority) == ("::1", 8010, "[::1]:8010")


@pytest.mark.parametrize(
    ("record", "url"),
    [
        ('{"address": "127.0.0.1:8010"}', "http://127.0.0.1:8010"),
        ('{"address": "[::1]:8010"}', "http://[::1]:8010"),
        (None, "http://localhost:8000"),
        ("", "http://localhost:8000"),
        ("[]", "http://localhost:8000"),
        ("{}", "http://localhost:8000"),
        ('{"address": 8010}', "http://localhost:8000"),
        ('{"address": "a b"}', "http://localhost:8000"),
    ],
)
def test_the_default_is_the_server_that_up_started_or_else_triton_s_own(tmp_path, record, url):
    if record is not None:
        (tmp_path / "server.json").write_text(record)
    assert address.find_started(tmp_path) == url


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("localhost", "start it with `crossover up`"),
        ("foo", "is the address right?"),
        ("foo:9", "is the address right?"),
    ],
)
def test_a_server_that_was_not_started_is_started_here_only_and_elsewhere_its_address_may_be_wrong(
    url, says, monkeypatch
):
    monkeypatch.setattr(address, "states", set())
    assert address.explain_silence(url, "refused").endswith(f"(refused); {says}")
