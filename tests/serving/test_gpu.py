"""Laws of the GPU: which one is used, for what, and the one line that says why there is none."""

import ctypes
import json
import sys
from dataclasses import asdict
from types import SimpleNamespace

import pytest

from serving import Failure, gpu, local, model_loader, nvml, smoke_test, state
from serving.record import new_record
from serving.server import Server
from serving.status import gpu_line, say_gpu, steps_on_gpu
from serving.thread_plan import GPU_STEPS, plan_threads
from tests import cards


def cuda(error: int = 0, version: int = 13000, count: int = 1) -> SimpleNamespace:
    """What libcuda.so.1 answers."""

    def put(number):
        return lambda pointer: setattr(pointer._obj, "value", number)

    return SimpleNamespace(cuInit=lambda flags: error, cuDriverGetVersion=put(version), cuDeviceGetCount=put(count))


def test_without_a_driver_there_is_no_card_and_one_line_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: (_ for _ in ()).throw(OSError(name)))
    assert nvml.read_cards() == [] and nvml.used_card() is None and nvml.read_energy("GPU-0") is None
    assert gpu.obstacle() == "no NVIDIA driver answers (there is no libcuda.so.1)"


def test_a_card_is_described_also_where_it_does_not_say_everything(monkeypatch):
    library = cards.install(monkeypatch)
    [card] = nvml.read_cards()
    assert str(card) == "NVIDIA H100 80GB HBM3, 85 GB, driver 580.95.05"
    assert (card.capability, card.sm_clock, card.memory_clock, card.mig) == ("9.0", 1980, 2619, False)
    assert card.power_limit_watts is None and library.running == 0
    assert json.loads(json.dumps(asdict(card)))["free_mb"] == 80_000


@pytest.mark.parametrize(
    ("visible", "used"), [(None, "A"), ("1", "B"), ("GPU-1,GPU-0", "B"), ("MIG-7", "A"), ("", "A")]
)
def test_the_used_card_is_the_first_that_cuda_sees(monkeypatch, visible, used):
    cards.install(monkeypatch, names=("A", "B"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert nvml.used_card().name == used


@pytest.mark.parametrize(
    ("driver", "card", "words"),
    [
        (cuda(error=100), {}, "the NVIDIA driver offers no GPU: it finds no card"),
        (cuda(error=803), {}, "cuInit gives error 803; see `nvidia-smi`"),
        (cuda(count=0), {}, "check CUDA_VISIBLE_DEVICES and MIG instances"),
        (cuda(version=12080), {}, r"driver 580.95.05 is older than CUDA 13 needs \(580\); install a newer one"),
        (cuda(), {"capability": (7, 0)}, r"\(compute capability 7.0\) is older than CUDA 13 runs on \(7.5\)"),
        (cuda(), {"free": 10**9}, "is full: 1000 of 85000 MB are free, 2048 are needed; see `nvidia-smi`"),
        (cuda(), {}, r"onnxruntime-gpu is not installed; run `make env GPU=1`"),
    ],
)
def test_what_is_unfit_is_named_in_one_line_with_its_remedy(monkeypatch, driver, card, words):
    cards.install(monkeypatch, **card)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: driver)
    monkeypatch.setattr(gpu, "is_installed", lambda name: name == "onnxruntime")
    monkeypatch.setattr(sys, "version_info", (3, 11, 7))
    with pytest.raises(AssertionError, match=words):
        assert not gpu.obstacle()
    assert "\n" not in gpu.obstacle()


def test_native_backends_bring_their_own_libraries(monkeypatch):
    cards.install(monkeypatch)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: cuda())
    assert gpu.obstacle(native=True) is None


def test_python_3_10_is_told_that_it_has_no_wheels(monkeypatch):
    monkeypatch.setattr(gpu, "is_installed", lambda name: False)
    monkeypatch.setattr(sys, "version_info", (3, 10, 1))
    assert "Python 3.10" in gpu.library_obstacle() and "3.11 or 3.12" in gpu.library_obstacle()


def test_two_runtimes_that_hide_each_other_are_named(monkeypatch):
    monkeypatch.setattr(gpu, "is_installed", lambda name: True)
    assert "both installed" in gpu.library_obstacle()


def test_a_library_that_does_not_load_is_named(monkeypatch):
    monkeypatch.setattr(gpu, "is_installed", lambda name: name == "onnxruntime-gpu")
    monkeypatch.setattr(gpu, "PROBE", "import ctypes; ctypes.CDLL('libcudnn_of_nobody.so.9')")
    why = gpu.library_obstacle()
    assert "libcudnn_of_nobody.so.9" in why and "`make env GPU=1`" in why and "\n" not in why
    monkeypatch.setattr(gpu, "PROBE", "")
    assert gpu.library_obstacle() is None


def options(tmp_path, **given) -> SimpleNamespace:
    numbers = {"http_port": 9000, "grpc_port": 9001, "metrics_port": 9002}
    asked = {"weights": "tiny", "host": "127.0.0.1", "cores": [0, 1], "slo": 500, "models": [], "shm": False}
    asked |= {"only": False, "requirements": [], "admission": False, "workload": ""}
    return SimpleNamespace(state=tmp_path, **{**numbers, **asked, "no_gpu": False, "on_cpu": [], **given})


def test_a_fit_card_runs_the_three_steps_and_is_named(monkeypatch, tmp_path):
    cards.install(monkeypatch)
    monkeypatch.setattr(gpu, "obstacle", lambda native: None)
    record = new_record(options(tmp_path, on_cpu=["wav2vec2"]), "local")
    assert record["gpu"] is True and not record["no_gpu_because"]
    assert steps_on_gpu(record) == ["image_preprocess", "resnet50"]
    said = "NVIDIA H100 80GB HBM3, 85 GB, driver 580.95.05; on it: image_preprocess, resnet50"
    assert gpu_line(record) == f"GPU: {said}"
    assert record.keys() >= state.KEYS and json.loads(json.dumps(record)) == record


@pytest.mark.parametrize(
    ("given", "why"),
    [({}, "no driver"), ({"no_gpu": True}, "--no-gpu was given"), ({"on_cpu": list(GPU_STEPS)}, None)],
)
def test_without_a_gpu_the_record_says_why(monkeypatch, tmp_path, given, why):
    monkeypatch.setattr(gpu, "obstacle", lambda native: "no driver" if why == "no driver" else None)
    record = new_record(options(tmp_path, **given), "local")
    assert (record["gpu"], record["card"], steps_on_gpu(record)) == (False, None, [])
    assert gpu_line(record) == f"no GPU: {why or '--on-cpu was given for every step'}"


@pytest.mark.parametrize(("weights", "gpu", "warns"), [("fp16", False, 1), ("fp16", True, 0), ("real", False, 0)])
def test_half_precision_without_a_gpu_is_said_to_win_nothing(capsys, weights, gpu, warns):
    say_gpu({"weights": weights, "gpu": gpu, "no_gpu_because": "" if gpu else "no driver", "engine": "docker"})
    assert capsys.readouterr().out.count("FP16 without a GPU: ") == warns


def test_each_step_has_its_kind_in_its_configuration():
    plan = plan_threads(4, 0, on_gpu=["image_preprocess", "resnet50"])
    configs = model_loader.configurations(model_loader.STEPS, plan, "127.0.0.1:8002")
    groups = {model: json.loads(config)["instance_group"][0] for model, config in configs.items()}
    kinds = {model: (group["kind"], group.get("gpus")) for model, group in groups.items()}
    assert kinds.pop("image_preprocess") == kinds.pop("resnet50") == ("KIND_GPU", [0])
    assert set(kinds.values()) == {("KIND_CPU", None)} and len(kinds) == 3


def test_a_network_on_a_gpu_takes_no_cores_and_preprocessing_takes_all():
    plan = plan_threads(16, on_gpu=GPU_STEPS)
    assert [plan[each]["threads"] for each in ("image_preprocess", "resnet50", "wav2vec2")] == [16, 1, 1]
    assert plan_threads(16, on_gpu=["image_preprocess"])["resnet50"]["threads"] == 16


def test_joules_and_utilisation_of_a_local_servers_card_come_from_nvml(monkeypatch):
    cards.install(monkeypatch, names=("A", "B"), joules=(10.25, 12.5))
    record = {"card": asdict(nvml.read_cards()[1]), "pid": 1, "metrics_port": 1}
    server = Server("http://127.0.0.1:1", record)
    assert server.gpu() == {"energy_joules": 10.25, "utilisation": 0.37, "memory_mb": 5000}
    assert server.gpu()["energy_joules"] == 12.5
    monkeypatch.delattr(cards.NVML, "nvmlDeviceGetTotalEnergyConsumption")
    assert server.gpu() is None


def test_a_step_that_the_card_has_no_room_for_is_named_with_the_way_out(server, tmp_path):
    """This machine has no card, so Triton itself refuses the kind."""
    plan = plan_threads(1, 0, on_gpu=["resnet50"])
    folder = model_loader.overlay(tmp_path)
    configs = {"resnet50": model_loader.configurations(folder, plan, "127.0.0.1:1")["resnet50"]}
    admin = Server(server.url, {"admin_key": server.admin_key}).admin_api
    before = admin.config("resnet50")
    with pytest.raises(model_loader.Failure, match=r"resnet50 does not load on the GPU: .*; --on-cpu resnet50 keeps"):
        only = tmp_path / "only"
        (only / "resnet50").mkdir(parents=True)
        (only / "resnet50" / "config.pbtxt").symlink_to(folder / "resnet50" / "config.pbtxt")
        model_loader.load_all(admin, server.name, only, configs, lambda line: None)
    assert admin.config("resnet50") == before  # the one that runs goes on


def test_a_network_in_fp16_that_the_card_does_not_run_names_the_weights_that_it_may(server, tmp_path):
    folder = model_loader.overlay(tmp_path)
    plan = plan_threads(1, 0, on_gpu=["resnet50"])
    configs = {"resnet50": model_loader.configurations(folder, plan, "127.0.0.1:1", half=True)["resnet50"]}
    only = tmp_path / "only"
    (only / "resnet50").mkdir(parents=True)
    (only / "resnet50" / "config.pbtxt").symlink_to(folder / "resnet50" / "config.pbtxt")
    admin = Server(server.url, {"admin_key": server.admin_key}).admin_api
    with pytest.raises(
        model_loader.Failure, match=r"resnet50 does not load on the GPU: .*; --weights real takes it in"
    ):
        model_loader.load_all(admin, server.name, only, configs, lambda line: None)


@pytest.mark.parametrize(("on_gpu", "way_out"), [(True, "; --no-gpu keeps to the CPU"), (False, "")])
def test_a_server_whose_card_computes_nonsense_does_not_come_up(server, tmp_path, monkeypatch, on_gpu, way_out):
    def refuse(api):
        raise Failure("image answered logits that are all equal or not finite")

    monkeypatch.setattr(model_loader, "load_all", lambda *arguments: None)
    monkeypatch.setattr(smoke_test, "run", refuse)
    with pytest.raises(Failure, match=f"not finite{way_out}$"):
        local.fill(None, {**vars(server), "gpu": on_gpu}, tmp_path, None)
