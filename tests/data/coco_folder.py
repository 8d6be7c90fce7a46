"""A small COCO-format data set on disk, to be spoilt in one way a test."""

import json

import numpy as np
from PIL import Image
from pycocotools import mask as rle_tools

from htc.config import load_config

NAMES = ("cat", "dog", "cow")
CATEGORY_IDS = (7, 3, 40)  # not from 1, not in order


class CocoFolder:
    """Four pictures of 60 x 40 px; `content` is the json, written by `config`.

    Instances: 1 polygon; 2 uncompressed RLE; 3 compressed RLE; 4 a crowd; picture 13 has none.
    """

    def __init__(self, root):
        self.root = root
        self.images, self.semantic = root / "images", root / "stuff"
        self.images.mkdir(parents=True)
        self.semantic.mkdir()
        random = np.random.default_rng(0)
        pictures = []
        for number in range(10, 14):
            name = f"{number}.png"
            pixels = random.integers(0, 256, (40, 60, 3), np.uint8)
            Image.fromarray(pixels).save(self.images / name)
            Image.fromarray(pixels[:, :, 0] % 5).save(self.semantic / name)
            pictures.append({"id": number, "file_name": name, "height": 40, "width": 60})
        mask = np.zeros((40, 60), np.uint8, order="F")
        mask[5:25, 10:40] = 1
        mask[10:15, 20:30] = 0
        rle = rle_tools.encode(mask)
        compressed = {"size": [40, 60], "counts": rle["counts"].decode()}
        polygon = [[10, 5, 40, 5, 40, 25, 10, 25]]
        kinds = [(10, 7, polygon, 0), (11, 3, runs_of(mask), 0)]
        kinds += [(12, 40, compressed, 0), (12, 7, runs_of(mask), 1)]
        annotations = [
            {
                "id": number,
                "image_id": picture,
                "category_id": category,
                "bbox": [10, 5, 30, 20],
                "area": 600,
                "iscrowd": crowd,
                "segmentation": segmentation,
            }
            for number, (picture, category, segmentation, crowd) in enumerate(kinds, 1)
        ]
        categories = [{"id": i, "name": name} for i, name in zip(CATEGORY_IDS, NAMES, strict=True)]
        self.content = {
            "images": pictures,
            "annotations": annotations,
            "categories": categories,
        }

    @property
    def json(self):
        return self.root / "instances.json"

    def config(self, *overrides):
        """The configuration of this folder, as both splits."""
        self.json.write_text(json.dumps(self.content))
        own = [
            f"data.root={self.root}",
            "num_classes=3",
            "num_semantic_classes=5",
            "data.kind=coco",
        ]
        own += ["data.train_short_sides=[40]", "data.train_long_side=60", "data.workers=0"]
        own += ["data.batch_size=3", "data.test_short_side=40", "data.test_long_side=60"]
        for split in ("train", "val"):
            own += [f"data.{split}.images=images", f"data.{split}.annotations=instances.json"]
            own += [f"data.{split}.semantic=stuff"]
        return load_config("htc_demo", [*own, *overrides])

    def annotation(self, number):
        return self.content["annotations"][number - 1]


def runs_of(mask):
    """Uncompressed RLE, counted pixel by pixel."""
    counts, value = [0], 0
    for pixel in mask.T.ravel().tolist():
        if pixel != value:
            counts.append(0)
            value = pixel
        counts[-1] += 1
    return {"size": list(mask.shape), "counts": counts}
