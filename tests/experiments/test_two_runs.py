"""Two comparisons beside each other, and a comparison with the load of another."""

import json

from tests import trials_on_disk
from tests.commands import again, only


def test_a_bench_like_another_can_be_compared_with_it_whatever_the_clock_says(world, conduct, monkeypatch, capsys):
    conduct()
    before = only(conduct.reports)
    monkeypatch.setitem(trials_on_disk.NETWORK, "image", ("resnet50", 60.0))
    after = conduct.reports.with_name("after")
    made = "--payloads", conduct.photographs, "--reports", after, "--rounds", 3, "--seconds", 33
    code, _, errors = conduct("--like", before, given=["image", *made])
    assert (code, errors) == (0, "")
    code, output, errors = again(monkeypatch, capsys, before, only(after))
    assert (code, errors) == (0, "") and "image client: " in output
    own, other = (json.loads((each / "run.json").read_text())["workloads"]["image"] for each in (before, only(after)))
    assert own["slo_ms"] == other["slo_ms"]
    code, _, errors = conduct("--like", before, given=["audio", *made[2:]])
    assert code == 2 and errors == f"crossover compare: {before} has not measured audio, but image\n"
    code, _, errors = conduct("--like", before, "--slo", 3, given=["image", *made])
    assert code == 2 and "leave out --arrivals and --slo" in errors
    (conduct.photographs / "image-a.jpg").write_bytes(b"another")
    code, _, errors = conduct("--like", before, given=["image", *made])
    assert code == 2 and "sent other payloads for image" in errors and len(errors.splitlines()) == 1


def test_what_is_ignored_in_a_comparison_is_named(tmp_path, monkeypatch, capsys):
    for name in ("before", "after"):
        trials_on_disk.write(tmp_path / name, ("image",), 2)
    before, after = tmp_path / "before", tmp_path / "after"
    described = json.loads((after / "run.json").read_text())
    described["seed"], described["workloads"]["image"]["arrivals"] = 2, "poisson:rate=8"
    (after / "run.json").write_text(json.dumps(described))
    code, output, errors = again(monkeypatch, capsys, before, after)
    assert code == 1 and "not comparable" in errors and output == ""
    assert errors.endswith("; --anyway compares them nevertheless\n")
    code, output, errors = again(monkeypatch, capsys, before, after, "--anyway")
    assert code == 0 and "image client" in output and "async:1" not in output
    assert "seed of the schedules: 1 against 2; image's arrivals: poisson:rate=7.5 against poisson:rate=8" in errors


def test_reports_without_a_common_arm_are_one_line(tmp_path, monkeypatch, capsys):
    for name, kept in (("before", "client"), ("after", "server")):
        trials_on_disk.write(tmp_path / name, ("image",), 2)
        for path in (tmp_path / name).glob(f"image/*-{'server' if kept == 'client' else 'client'}-*/*.json"):
            path.unlink()
    code, output, errors = again(monkeypatch, capsys, tmp_path / "before", tmp_path / "after")
    assert (code, output, len(errors.splitlines())) == (1, "", 1)
    assert "nothing to compare: no arm has a round of one schedule in both" in errors
    assert "before has image client" in errors
    # A run of other settings is not offered to be compared nevertheless where that fails, too.
    described = json.loads((tmp_path / "after" / "run.json").read_text())
    (tmp_path / "after" / "run.json").write_text(json.dumps({**described, "seed": 2}))
    code, output, errors = again(monkeypatch, capsys, tmp_path / "before", tmp_path / "after")
    assert (code, output, len(errors.splitlines())) == (1, "", 1)
    assert "not comparable: seed of the schedules: 1 against 2; nothing to compare: no arm has" in errors
    assert "--anyway" not in errors
