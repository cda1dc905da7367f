"""Photographs through EfficientNet-Lite0: OpenCV decodes them on the client, or in Triton's Python backend."""

import cv2
import numpy as np

from crossover import Answer, Placement, Workload, files
from workloads.image import name_classes


def decode(encoded):
    """Do what model_repository/decode does."""
    image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
    side = min(image.shape[:2]) * 7 // 8
    top, left = ((length - side) // 2 for length in image.shape[:2])
    image = cv2.resize(image[top : top + side, left : left + side], (224, 224), interpolation=cv2.INTER_AREA)
    return ((image[:, :, ::-1].astype(np.float32) - 127) / 128).transpose(2, 0, 1)


WORKLOAD = Workload(
    name="imagenet", subject="photographs", payloads=files("photos/*.jpg"), suffixes=(".jpg", ".jpeg", ".png"),
    placements={"client": Placement("efficientnet", decode), "server": Placement("classify")},
    answer=Answer("logits", name_classes, classes=True),
)
