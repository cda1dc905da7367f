"""Whatever is wrong on a command line is one line that says what is good, and exit code 2; nothing is left behind."""

import pytest

from tests.commands import conduct
from tests.conftest import ROOT

EXPERIMENTS = ("compare", "placements", "capacity", "clients", "sweep", "load", "efficiency", "overload")
RESUMABLE = ("compare", "capacity", "clients", "sweep", "load")
ON_A_SERVER = ("compare", "capacity", "clients", "load", "efficiency", "overload")

EVERY = [
    (["film"], "unknown workload 'film'; try one of image, audio, or the path of a Python file"),
    (["no/such.py"], "workload no/such.py does not exist"),
    (["--seconds", "soon"], "invalid value for '--seconds': 'soon' is no number"),
    (["--seconds", "-1"], "seconds must be a positive number, not -1"),
    (["--seconds", "nan"], "seconds must be a positive number, not nan"),
    (["--seconds", "inf"], "seconds must be a positive number, not inf"),
    (["--seconds", "0.5"], "--seconds must be at least "),
    (["--seed", "-1"], "--seed must not be negative, not -1"),
    (["--seed", "1.5"], "invalid value for '--seed': '1.5' is no whole number"),
    (["--arms", "moon"], "unknown placement 'moon' of image; try some of client, server"),
    (["--arms", ""], "--arms is empty; name some placements of image"),
    (["--arms", "client,client"], "different placements of image, of client, server"),
    (["--arms", "client+udp,server"], "unknown transport 'udp'; try one of http, grpc, shm, json, base64"),
    (["--minutes", "3"], "no such option '--minutes'"),
    (["--secnds", "3"], "no such option '--secnds'; did you mean '--seconds'?"),
]
"""Of each of EXPERIMENTS: (arguments, what the line says)."""

CHOSEN = [
    *((each, ["--url", "https://me:secret@triton"], "before an @") for each in ON_A_SERVER),
    *((each, ["--url", "localhost:99999"], "port must be a number from 1 to 65535") for each in ON_A_SERVER),
    *((each, ["--continue", "no/such"], "nothing to continue in no/such: it has no run.json") for each in RESUMABLE),
    *((each, ["--library", "gd"], "unknown library 'gd'; image has ") for each in ("compare", "clients", "load")),
    ("compare", ["--transport", "udp"], "invalid value for '--transport': 'udp' is not one of 'http', 'grpc'"),
    ("compare", ["--grpc-port", "0"], "invalid value for '--grpc-port': 0 is not in the range 1<=x<=65535"),
    ("sweep", ["image", "--arms", "client+grpc,server"], "sweep measures over HTTP only, and --arms names client+grpc"),
    ("efficiency", ["image", "--arms", "server+shm"], "efficiency measures over HTTP only"),
    ("compare", ["--arms", "client"], "--arms takes 2 different placements of image"),
    ("compare", ["image", "--payloads", "/no/such"], "cannot read payloads"),
    ("compare", ["--payloads", "/no/such"], "say of which workload, as image=/no/such"),
    ("compare", ["image", "--payloads", "audio=/no/such"], "unknown workload 'audio'; try one of image"),
    ("compare", ["image", "--payloads", "image="], "names no directory"),
    ("compare", ["image", "--payloads", "image=a", "--payloads", "b"], "names two directories for image"),
    ("compare", ["--modes", "fast"], "unknown mode 'fast'; try one of sequential, threads, async"),
    ("compare", ["--rounds", "-2"], "--rounds must be at least 1, not -2"),
    ("compare", ["--rounds", "0"], "--rounds must be at least 1, not 0"),
    ("compare", ["--rounds", "-4", "--seconds", "2"], "--rounds must be at least 1, not -4"),
    ("compare", ["--rounds", "200", "--seconds", "100"], "--seconds must be at least "),
    ("compare", ["--slo", "-3"], "--slo must be a positive number of ms"),
    ("compare", ["--slo", "nan"], "--slo must be a positive number of ms"),
    ("compare", ["--precision", "2"], "--precision must be a share above 0 and below 1"),
    ("compare", ["--prices", "cpu=free"], "the price cpu=free is no number"),
    ("compare", ["--prices", "cpu"], "the price cpu has no number; e.g. cpu=0.04"),
    ("compare", ["image", "--seconds", "1"], ", not 1: 6 rounds, the fewest with an interval, of every arm of image"),
    ("load", ["image", "--seconds", "1"], ", not 1: 4 rates for every arm of image, 2 s each at least"),
    ("compare", ["--prices", "disk=1"], "unknown price 'disk'"),
    ("compare", ["--arrivals", "gama:rate=3"], "unknown arrivals 'gama:rate=3'; try one of"),
    ("compare", ["--arrivals", "poisson:rate=-3"], "rate must be"),
    ("compare", ["--like", "no/such"], "no/such is no run: it has no run.json"),
    ("compare", ["--like", "no/such", "--slo", "3"], "leave out --arrivals and --slo"),
    ("compare", ["--control", "bb"], "invalid value for '--control': 'bb' is not one of 'aa', 'slow'"),
    ("compare", ["--fail-if", "p95"], "--fail-if 'p95' is no limit; e.g. 'p95>300'"),
    ("compare", ["--fail-if", "p98>3"], "unknown metric 'p98'; try one of mean, p50"),
    ("compare", ["--fail-if", "p95>much"], "'much' is no number"),
    ("compare", ["--fail-if", "p95>1e400"], "'1e400' is no number"),
    ("compare", ["--fail-if", "moon.p95>3"], "'moon' is not measured; try one of audio, client, image, server"),
    ("load", ["--metrics-port", "70000"], "invalid value for '--metrics-port': 70000 is not in the range"),
    ("load", ["--metrics-port", "9646", "--metrics-host", "203.0.113.1"], "cannot serve metrics on 203.0.113.1:9646: "),
    ("compare", ["--metrics-port", "-1"], "invalid value for '--metrics-port': -1 is not in the range"),
    ("compare", ["--rates", "3"], "no such option '--rates'"),
    ("capacity", ["--slo", "inf"], "--slo must be a positive number of ms"),
    ("capacity", ["--percentile", "12"], "--percentile must lie between 50 and 99.9, not 12"),
    ("capacity", ["--loads", "2"], "--loads are shares of the capacity"),
    ("capacity", ["--loads", "half"], "--loads are shares of the capacity"),
    ("capacity", ["--link", "0"], "--link must lie between 1 and 10000 Mbit/s, not 0"),
    ("capacity", ["--link", "nan"], "--link must lie between 1 and 10000 Mbit/s, not nan"),
    ("capacity", ["--link", "20Mbit"], "invalid value for '--link': '20Mbit' is no number"),
    ("capacity", ["--link", "20", "--url", "localhost:9"], "--link starts a server of its own, so it takes no --url"),
    ("capacity", ["--link", "20", "--grpc-port", "9"], "a server of its own, so it takes no --grpc-port"),
    ("capacity", ["--link", "20", "--gateway-cores", "0"], "a server of its own, so it takes no --gateway-cores"),
    ("capacity", ["--weights", "tiny"], "--weights are of the server that --link starts, and there is no --link"),
    ("capacity", ["--link", "20", "--weights", "huge"], "'huge' is not one of 'real', 'fp16', 'tiny'"),
    (
        "capacity",
        ["image", "--link", "20", "--arms", "server,mixed:1.5"],
        "'mixed:1.5' mixes nothing",
    ),
    ("capacity", ["image", "--link", "20", "--arms", "client,local"], "local of image asks no server"),
    (
        "capacity",
        ["image", "--link", "20", "--arms", "client,gateway"],
        "gateway of image has its gateway on",
    ),
    (
        "capacity",
        ["image", "--link", "20", "--arms", "server+shm"],
        "server+shm of image does not cross it by plain HTTP",
    ),
    ("capacity", [f"{ROOT}/examples/voice/workload.py", "--link", "20"], "asks the model vad, which the server"),
    (
        "capacity",
        ["image", "--link", "20", "--transport", "grpc"],
        "client+grpc of image does not cross it by",
    ),
    ("clients", ["--rounds", "0"], "--rounds must be at least 1, not 0"),
    ("clients", ["--rate", "-3"], "--rate must be a positive number"),
    ("clients", ["--seconds", "60"], "--seconds must be at least "),
    ("sweep", ["--sweeps", "colour"], "unknown --sweeps 'colour'; try some of size, network, workers, cores"),
    ("sweep", ["--weights", "huge"], "unknown --weights 'huge'; try some of tiny, real"),
    ("sweep", ["--rounds", "0"], "--rounds must be at least 1"),
    ("sweep", ["--engine", "podman"], "'podman' is not one of 'auto', 'local', 'docker'"),
    ("load", ["--rate", "2,x"], "--rate takes requests per second, with commas, as 2,4,8, not '2,x'"),
    ("load", ["--rate", "0"], "--rate takes requests per second"),
    ("load", ["--rate", "inf"], "--rate takes requests per second"),
    ("overload", ["--slo", "0"], "--slo must be a positive number"),
    ("overload", ["--capacity", "-1"], "--capacity one that is not negative"),
    ("overload", ["--start", "huge"], "'huge' is not one of 'real', 'fp16', 'tiny'"),
    ("soak", ["--seconds", "10"], "--seconds must be at least 60"),
    ("soak", ["--weights", "huge"], "'huge' is not one of 'real', 'fp16', 'tiny'"),
    ("soak", ["image"], "got unexpected extra argument (image)"),
    ("soak", ["--url", "ftp://x"], "ftp is not supported"),
]
"""(command, arguments, what the line says)."""


@pytest.mark.parametrize(
    ("command", "arguments", "says"),
    [*((command, *each) for command in EXPERIMENTS for each in EVERY), *CHOSEN],
    ids=lambda each: each if isinstance(each, str) else " ".join(each),
)
def test_a_wrong_setting_is_one_line_and_exit_code_2(command, arguments, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, output, errors = conduct(capsys, command, *arguments)
    assert (code, output) == (2, "")
    [line] = errors.splitlines()
    assert line.startswith(f"crossover {command}: ") and says in line, line
    assert not list(tmp_path.iterdir()), "it has left something"
