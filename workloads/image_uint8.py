"""A photograph as 224 x 224 x 3 bytes: the client decodes and resizes, the server normalises.

    client:uint8:  bytes -> decode, resize (client CPU) -> photograph -> [ resnet50_uint8 ] -> logits

It sends a quarter of the bytes of the FP32 tensor. Its model is in no repository: it is made from ResNet-50's network,
with a cast and the normalisation before it, when a run asks for it (`Derived`).
"""

import numpy as np

from preprocess.image import CROPPED, MEAN, STD
from workloads.tensors import Input
from workloads.workload import Derived, Placement, Preprocessor, per_thread


def make_pixels() -> Preprocessor:
    """Make a preprocessor for one thread: encoded bytes -> uint8 (224, 224, 3).

    It uses the server's own graph, so that both decode and resize alike to the last bit, and takes back in the graph
    what that normalises. It raises ValueError, in one line, for bytes that it cannot decode.
    """
    import nvidia.dali.fn as fn
    import nvidia.dali.types as types
    from nvidia.dali import pipeline_def

    from preprocess import image_dali

    @pipeline_def(batch_size=1, num_threads=1, device_id=None, **image_dali.ONE_BY_ONE)
    def graph():
        normal = image_dali.pixels(fn.external_source(name="encoded", dtype=types.UINT8, ndim=1))
        mean, std = [-m / s for m, s in zip(MEAN, STD, strict=True)], [1 / s for s in STD]
        return fn.crop_mirror_normalize(normal, dtype=types.UINT8, output_layout="HWC", mean=mean, std=std)

    return image_dali.preprocessor(graph)


def prepend_normalisation(network):
    """Put a cast and the normalisation before an ONNX network, and return it (it is changed in place).

    Its input, FP32 [batch, 3, 224, 224], is replaced by `photograph`, UINT8 [batch, 224, 224, 3]; weights and outputs
    stay as they are.
    """
    from onnx import TensorProto, helper, numpy_helper

    graph, nodes = network.graph, list(network.graph.node)
    [name] = [each.name for each in graph.input]
    del graph.node[:], graph.input[:]
    graph.node.extend(
        [
            helper.make_node("Cast", ["photograph"], ["float"], to=TensorProto.FLOAT),
            helper.make_node("Sub", ["float", "image_mean"], ["centred"]),
            helper.make_node("Div", ["centred", "image_std"], ["normal"]),
            helper.make_node("Transpose", ["normal"], [name], perm=[0, 3, 1, 2]),
            *nodes,
        ]
    )
    constants = {"image_mean": np.array(MEAN, np.float32), "image_std": np.array(STD, np.float32)}
    graph.initializer.extend(numpy_helper.from_array(value, key) for key, value in constants.items())
    shape: list[str | int | None] = ["batch", CROPPED, CROPPED, 3]
    graph.input.append(helper.make_tensor_value_info("photograph", TensorProto.UINT8, shape))
    return network


PLACEMENT = Placement(
    "resnet50_uint8",
    {"dali-uint8": per_thread(make_pixels)},
    inputs=(Input("photograph", "UINT8", (CROPPED, CROPPED, 3)),),
    batched=True,
    outputs=("logits",),
    words="the client",
    form="UINT8 tensor",
    steps=("resnet50_uint8",),
    derived=Derived(
        "resnet50",
        prepend_normalisation,
        {"name": "photograph", "data_type": "TYPE_UINT8", "dims": [CROPPED, CROPPED, 3]},
    ),
)
