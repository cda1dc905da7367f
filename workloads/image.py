"""Photographs through ResNet-50, decoded by the client or by the server.

    client:  bytes -> decode, resize, normalise (client CPU) -> pixels -> [ resnet50 ] -> logits
    server:  bytes ---------------------------------------------> [ image: image_preprocess -> resnet50 ] -> logits

The two photographs are the ones scikit-learn carries (a dependency of librosa), re-encoded at several sizes so that
decoding costs what it costs in practice. Sweeps over size crop and resize them to the shapes of cameras and screens.

Its speech twin is `audio.py`: what one has, the other has under the same name.
"""

import importlib.util
import io
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path

import numpy as np

from workloads import image_variants
from workloads.payloads import Payload
from workloads.tensors import Input
from workloads.workload import Answer, Placement, Size, Sizes, Workload

WIDTHS = (320, 640, 1280, 1920)
SIZES = ((500, 375), (1280, 853), (1920, 1080), (4032, 3024))
QUALITY = 90


def photographs(widths: Sequence[int] = WIDTHS) -> list[Payload]:
    """Return both photographs at each width in pixels, as JPEG of quality 90; at their own 640 the original bytes."""
    return [photograph(path, width) for path in photograph_files() for width in widths]


def photograph_files() -> list[Path]:
    """Return the paths of the built-in photographs. Raises ValueError, in one line, without scikit-learn."""
    spec = importlib.util.find_spec("sklearn")  # found, not imported: that would take a second
    if spec is None or spec.origin is None:
        raise ValueError("no built-in photographs: scikit-learn is not installed; give a directory of payloads")
    return sorted((Path(spec.origin).parent / "datasets" / "images").glob("*.jpg"))


def photograph(path: Path, width: int) -> Payload:
    """Return one photograph, resized with Lanczos to that width in pixels; its name says the size."""
    from PIL import Image

    encoded = path.read_bytes()
    image = Image.open(io.BytesIO(encoded))
    height = round(image.height * width / image.width)
    if width != image.width:
        buffer = io.BytesIO()
        image.resize((width, height), Image.Resampling.LANCZOS).save(buffer, "JPEG", quality=QUALITY)
        encoded = buffer.getvalue()
    return Payload(f"{path.stem}-{width}x{height}.jpg", encoded)


@cache
def fitted(width: int, height: int) -> list[Payload]:
    """Return both photographs, cropped to the shape and resized with Lanczos, as JPEG of quality 90.

    They are 640 x 427: what is larger is blown up, and has fewer bytes per pixel than a camera's.
    """
    from PIL import Image, ImageOps

    found = []
    for path in photograph_files():
        buffer = io.BytesIO()
        resized = ImageOps.fit(Image.open(path).convert("RGB"), (width, height), Image.Resampling.LANCZOS)
        resized.save(buffer, "JPEG", quality=QUALITY)
        found.append(Payload(f"{path.stem}-{width}x{height}.jpg", buffer.getvalue()))
    return found


def make_size(width: int, height: int) -> Size:
    """Return the size of photographs of that shape: x is in megapixels."""
    return Size(width * height / 1e6, f"{width}x{height}", partial(fitted, width, height))


def near_size(megapixels: float) -> Size:
    """Return about that size, 4:3, in steps of 20 x 15 pixels."""
    step = max(1, round((megapixels * 1e6 / 300) ** 0.5))
    return make_size(20 * step, 15 * step)


def name_classes(logits: np.ndarray) -> str:
    """Return names with their scores, best first, from what Triton's classification extension answers.

    `logits` holds byte strings `score:index:name` then, and no numbers.
    """
    texts = [text.decode().split(":", 2) for text in logits.ravel()]
    return ", ".join(f"{name} (score {float(score):.2f})" for score, _, name in texts)


IMAGE = Workload(
    name="image",
    subject="photographs",
    placements={
        "client": Placement(
            "resnet50",
            image_variants.LIBRARIES,
            inputs=(Input("pixels", "FP32", (3, 224, 224)),),
            batched=True,
            outputs=("logits",),
            words="the client",
            form="FP32 tensor",
            variants=image_variants.CLIENT,
            losses=image_variants.LOSSES,
        ),
        "server": Placement(
            "image",
            inputs=(Input("encoded", "UINT8", (-1,)),),
            batched=True,
            outputs=("logits",),
            words="the server",
            form="JPEG",
            variants=image_variants.SERVER,
        ),
    },
    payloads=photographs,
    optional={
        "local": Placement(
            "resnet50",
            image_variants.LIBRARIES,
            inputs=(Input("pixels", "FP32", (3, 224, 224)),),
            batched=True,
            outputs=("logits",),
            words="the client alone",
            network="resnet50/1/model.onnx",
            losses=image_variants.LOSSES,
        ),
    },
    steps=("image_preprocess", "resnet50"),
    suffixes=(".jpg", ".jpeg", ".png", ".webp"),
    typical=partial(fitted, 1280, 853),
    sizes=(Sizes("image size", "megapixels", tuple(make_size(w, h) for w, h in SIZES), near_size),),
    answer=Answer("logits", name_classes, classes=True),
    example=Path(__file__).parent / "photographs" / "cat.jpg",
    rate=4,
    share=0.35,  # a clip takes several times as long as a photograph
    sweep_shares={"tiny": 1, "real": 3, "fp16": 3},
)
