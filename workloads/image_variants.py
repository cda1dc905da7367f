"""Other ways of both placements of photographs: what --arms names as `client:NAME` and `server:NAME`.

    client:uint8         bytes -> decode, resize -> UINT8 pixels -> [ resnet50_uint8 ] -> logits
    client:recompressed  bytes -> decode, resize, encode -> small JPEG -> [ image ] -> logits
    server:python        bytes -> [ image_pillow: preprocess_pillow -> resnet50 ] -> logits
    server:opencv        bytes -> [ image_opencv: preprocess_opencv -> resnet50 ] -> logits
    server:scaled        bytes -> [ image_scaled: preprocess_scaled -> resnet50 ] -> logits
    server:bls           bytes -> [ image_bls, which decodes by Pillow and calls resnet50 ] -> logits
    server:top5          bytes -> [ image_top5: image_preprocess -> resnet50 -> top5 ] -> classes, scores

`client:opencv` and `client:scaled` are the placement itself with another library. Models lie in `model_variants/`.
What a placement or a library loses is declared, and stands in every report.
"""

import preprocess.image
from workloads import image_uint8
from workloads.tensors import Input
from workloads.workload import Placement, Preprocessor, per_thread

AREA = "decoded and resized by OpenCV, whose filter is another one; up to 2.6 of 255 grey levels from the rule in mean"
SCALED = (
    "JPEGs decoded at 1/2, 1/4 or 1/8 where 512 pixels of the shorter side are left; up to 0.6 of 255 grey levels from "
    "the rule in mean"
)
ENCODED = Input("encoded", "UINT8", (-1,))
LIBRARIES = {
    name: per_thread(make) for name, make in (preprocess.image.LIBRARIES | preprocess.image.APPROXIMATE).items()
}
"""Of the client: the first is used where nobody asks for another."""
LOSSES = {"opencv": AREA, "scaled": SCALED}


def make_small_jpeg() -> Preprocessor:
    """Make a preprocessor: encoded bytes -> bytes of a small JPEG."""
    from preprocess.image_recompress import recompress

    return recompress


def serve(model: str, *steps: str, lossy: str = "", outputs: tuple[str, ...] = ("logits",)) -> Placement:
    """Return a placement that sends the file to that model, which passes these steps."""
    return Placement(model, inputs=(ENCODED,), batched=True, outputs=outputs, form="JPEG", steps=steps, lossy=lossy)


CLIENT = {
    "uint8": image_uint8.PLACEMENT,
    "recompressed": Placement(
        "image",
        {"pillow-jpeg": per_thread(make_small_jpeg)},
        inputs=(ENCODED,),
        batched=True,
        outputs=("logits",),
        form="small JPEG",
        lossy="resized to 256 pixels and encoded again as a JPEG of quality 90",
    ),
}
SERVER = {
    "python": serve("image_pillow", "preprocess_pillow"),
    "opencv": serve("image_opencv", "preprocess_opencv", lossy=AREA),
    "scaled": serve("image_scaled", "preprocess_scaled", lossy=SCALED),
    "bls": serve("image_bls", "image_bls"),
    "top5": serve(
        "image_top5", "top5", lossy="the five highest of 1000 logits are answered", outputs=("classes", "scores")
    ),
}
