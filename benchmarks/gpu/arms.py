"""What is compared, and the models that it needs beside the repository's.

    server:        JPEG -> [ image: image_preprocess -> resnet50 ]          decoded on the GPU, if the server has one
    server-cpu:    JPEG -> [ image_cpu: image_preprocess_cpu -> resnet50 ]  decoded on the server's cores
    client:        JPEG -> decode (client's cores) -> FP32 tensor -> [ resnet50 ]
    client-uint8:  JPEG -> decode (client's cores) -> UINT8 tensor -> [ resnet50_uint8 ]

All of them use one server and one `resnet50`. `image_preprocess_cpu` has the same `dali.py`.
"""

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from loadgen.arm import Arm, Mode
from serving.model_loader import ENSEMBLES, STEPS
from workloads.audio import AUDIO
from workloads.image import IMAGE
from workloads.workload import Placement, Workload

CPU_STEP, CPU_ENSEMBLE = "image_preprocess_cpu", "image_cpu"
DECODING = {"image_preprocess", CPU_STEP, "audio_preprocess"}
"""Steps that are sent files."""
PROCESSING = DECODING | {"ctc_decode"}
"""Steps before and after the network."""
NAMES = {
    "server": "server, GPU decode",
    "server-cpu": "server, CPU decode",
    "client": "client",
    "client-uint8": "client, UINT8",
    "server-two": "server, two instances that decode",
    "server-fp16": "server, network in FP16",
    "client-fp16": "client, network in FP16",
}
RATIOS = (("server", "server-cpu"), ("server", "client"), ("server-cpu", "client"), ("client-uint8", "client"))
"""(candidate, baseline) of the pairs whose unloaded latencies are compared."""

IMAGES = replace(
    IMAGE,
    placements={
        "client": IMAGE.placements["client"],
        "server": IMAGE.placements["server"],
        "server-cpu": Placement(CPU_ENSEMBLE, inputs=("encoded",), outputs=("logits",), words="the server's cores"),
        "client-uint8": IMAGE.placements["client"].variants["uint8"],
    },
    steps=("image_preprocess", CPU_STEP, "resnet50", "resnet50_uint8"),
)
WORKLOADS = {"image": IMAGES, "audio": AUDIO}


@dataclass(frozen=True)
class Ask:
    """A placement of one of WORKLOADS, as it is told to a client process."""

    workload: str
    placement: str

    def make(self) -> Workload:
        """Return the workload."""
        return WORKLOADS[self.workload]


@dataclass(frozen=True)
class AskRaw:
    """A model that is sent tensors as they lie: `dtype` and `shape` of its one input, -1 for any length."""

    model: str
    input: str
    outputs: tuple[str, ...]
    dtype: str
    shape: tuple[int, ...]
    placement: str = "client"

    def make(self) -> Workload:
        """Return a workload whose one placement sends a payload's bytes without a copy."""

        def as_tensor(encoded: bytes) -> np.ndarray:
            return np.frombuffer(encoded, self.dtype).reshape(self.shape)

        placement = Placement(self.model, as_tensor, inputs=(self.input,), outputs=self.outputs)
        return Workload(
            name=self.model, placements={self.placement: placement}, payloads=lambda: [], steps=(self.model,)
        )


@cache
def find_arm(ask: Ask | AskRaw, cap: int = 512) -> Arm:
    """Return the arm, with one preprocessing worker and at most `cap` requests in flight."""
    return Arm(ask.make(), ask.placement, Mode("async", 1, cap))


def write_cpu_models(folder: Path, threads: int) -> Path:
    """Make a model repository of `image_preprocess_cpu` and `image_cpu`, from the configurations of their originals.

    The step decodes on the CPU with so many threads, whatever the server has. Returns the folder.
    """
    write_cpu_step(folder / CPU_STEP, threads)
    ensemble = read_config(ENSEMBLES / "image" / "config.pbtxt")
    ensemble.name, ensemble.ensemble_scheduling.step[0].model_name = CPU_ENSEMBLE, CPU_STEP
    write_config(ensemble, folder / CPU_ENSEMBLE)
    return folder


def write_cpu_step(folder: Path, threads: int) -> Path:
    """Make the folder of the model `image_preprocess_cpu`, and return the path of its configuration."""
    config = read_config(STEPS / "image_preprocess" / "config.pbtxt")
    config.name = CPU_STEP
    config.instance_group[0].kind = config.instance_group[0].KIND_CPU
    config.parameters["num_threads"].string_value = str(threads)
    path = write_config(config, folder)
    link = folder / "1" / "dali.py"
    link.unlink(missing_ok=True)
    link.symlink_to(STEPS / "image_preprocess" / "1" / "dali.py")
    return path


def read_config(path: Path):
    """Read a config.pbtxt as protobuf's ModelConfig."""
    from google.protobuf import text_format
    from tritonclient.grpc.model_config_pb2 import ModelConfig

    return text_format.Parse(path.read_text(), ModelConfig())


def write_config(config, folder: Path) -> Path:
    """Write a ModelConfig into a model's folder, with an empty folder for its version; return its path."""
    from google.protobuf import text_format

    (folder / "1").mkdir(parents=True, exist_ok=True)
    path = folder / "config.pbtxt"
    path.write_text(text_format.MessageToString(config))
    return path
