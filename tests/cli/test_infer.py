"""`crossover infer`: files through a pipeline, and its answers in words."""

import json

import pytest

from tests.commands import conduct
from tests.conftest import ROOT, launch
from workloads.audio import AUDIO
from workloads.image import IMAGE

PHOTOGRAPH, SOUND = IMAGE.example, AUDIO.example


def infer(*arguments):
    return launch("infer", *arguments, timeout=120)


def test_it_names_classes_and_prints_a_transcript(server):
    done = infer(PHOTOGRAPH, SOUND, "--url", server.url, "--classes", 2)
    assert done.returncode == 0, done.stderr
    photograph, sound = done.stdout.splitlines()
    assert photograph.count("stand-in ") == 2
    assert sound.startswith(f"{SOUND}: ")
    assert len(sound) > len(f"{SOUND}: ''")
    # What random weights answer means nothing, and it says so; what stands behind a class is no percentage.
    assert "(score " in photograph
    for model in ("resnet50", "wav2vec2"):
        assert f"!! {model}: stand-in weights: neither its latency nor its predictions are those of" in done.stderr


def test_without_a_file_it_sends_a_photograph_and_a_clip_of_the_repository_to_the_server_that_up_started(server):
    done = infer("--state", server.state)
    assert done.returncode == 0, done.stderr
    photograph, sound = done.stdout.splitlines()
    assert photograph.startswith(f"{PHOTOGRAPH.relative_to(ROOT)}: ") and "stand-in " in photograph
    assert sound.startswith(f"{SOUND.relative_to(ROOT)}: ")
    done = infer("audio", "--state", server.state)
    assert (done.returncode, done.stdout) == (0, sound + "\n")


def test_as_json_it_is_one_document_with_what_went_wrong(server):
    done = infer(PHOTOGRAPH, "none.jpg", "--json", "--url", server.url)
    good, bad = json.loads(done.stdout)
    assert done.returncode == 1 and not done.stderr
    assert (good["workload"], good["placement"]) == ("image", "server") and "stand-in " in good["answer"]
    assert bad == {"file": "none.jpg", "error": "No such file or directory"}


def test_one_bad_file_is_one_line_and_the_others_are_answered(server, tmp_path):
    (tmp_path / "text.jpg").write_text("no photograph")
    given = (tmp_path / "text.jpg", tmp_path / "none.wav", ROOT / "README.md", tmp_path)
    done = infer(*given, PHOTOGRAPH, "--url", server.url)
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 1
    text, none, readme, folder, _ = done.stderr.splitlines()  # the last is of weights
    assert all(line.startswith("crossover infer: ") for line in (text, none, readme))
    assert folder == f"crossover infer: {tmp_path}: it is a folder; give its files: {tmp_path}/*"
    assert "input 'encoded'" in text
    assert "No such file" in none
    assert "its name ends in none of" in readme


def test_without_a_server_it_says_so_once_with_its_url_and_what_to_do(tmp_path):
    done = infer(PHOTOGRAPH, SOUND, "--url", "localhost:9")
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("crossover infer: no Triton server answers at http://localhost:9 (")
    assert "refused" in line and line.endswith("; is the address right? `crossover status` has one")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--classes", 0], "--classes must be at least 1, not 0"),
        (["--classes", "few"], "'few' is no whole number"),
        (["--placement", "phone"], "unknown placement 'phone' of image; try one of client, server"),
        (["--url", "https://triton/v2"], "leave out /v2"),
        (["--insecure"], "there is no --url"),
        (["--url", "http://triton", "--cacert", "none.pem"], "--cacert is about TLS"),
        (["none.py"], "workload none.py does not exist"),
        (["--workload", "image"], "no such option '--workload'"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(arguments, says):
    done = infer(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("crossover infer: ") and says in line


def test_a_file_that_cannot_be_sent_is_named_also_where_no_server_answers(tmp_path, capsys):
    code, _, errors = conduct(
        capsys, "infer", str(tmp_path / "no.jpg"), "--url", "localhost:9", "--state", str(tmp_path)
    )
    assert (code, errors) == (2, f"crossover infer: {tmp_path / 'no.jpg'}: No such file or directory\n")


def test_a_file_that_no_request_holds_is_not_read(tmp_path, capsys):
    with (tmp_path / "huge.jpg").open("wb") as file:
        file.truncate(2**32)
    code, _, errors = conduct(
        capsys, "infer", str(tmp_path / "huge.jpg"), "--url", "localhost:9", "--state", str(tmp_path)
    )
    says = "it has 4.29 GB; a request holds at most 2.15 GB"
    assert (code, errors) == (2, f"crossover infer: {tmp_path / 'huge.jpg'}: {says}\n")
