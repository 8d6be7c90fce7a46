"""Data sets in COCO's format: reading, checking, loading.

dataset = CocoDataset.from_config(config, "train")
semantic, notice = semantic_source(config, dataset)
with train_loader(config, dataset, rank, world, semantic) as loader:
    for batch in loader.epoch(epoch, start=0):
        images, image_sizes, ground_truth = htc.data.tensors.to_tensors(batch)

Nothing here imports Paddle but htc.data.tensors: loading processes run without it.
"""

from htc.data.dataset import CocoDataset, Record
from htc.data.errors import DatasetError
from htc.data.loader import Loader, semantic_source, test_loader, train_loader
from htc.data.masks import MaskCrops
from htc.data.pictures import read_picture
from htc.data.transforms import Batch, Target

__all__ = [
    "Batch",
    "CocoDataset",
    "DatasetError",
    "Loader",
    "MaskCrops",
    "Record",
    "Target",
    "read_picture",
    "semantic_source",
    "test_loader",
    "train_loader",
]
