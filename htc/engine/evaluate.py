"""A model's box and mask AP on a data set, shared out among the processes."""

from __future__ import annotations

import contextlib
import logging
import time
from dataclasses import dataclass, field

from htc.coco_metric import coco_ap
from htc.config.run_schema import Config
from htc.data import CocoDataset, test_loader
from htc.detections import Detections
from htc.engine import processes
from htc.engine.progress import progress_bar
from htc.inference import detect

logger = logging.getLogger("htc")


@dataclass
class Evaluation:
    """What an evaluation found.

    results: entries of a COCO results file, of all pictures of all processes.
    metrics: "box_AP", "box_AP50", ..., "mask_AP", ...
    per_class: metric to class name to AP.
    examples: Detections by index in the data set, of the first few pictures, for overlays.
    seconds_per_picture: of the first process.
    """

    results: list[dict]
    metrics: dict[str, float] = field(default_factory=dict)
    per_class: dict[str, dict[str, float]] = field(default_factory=dict)
    examples: dict[int, Detections] = field(default_factory=dict)
    seconds_per_picture: float = 0.0


def predict_dataset(
    model, config: Config, dataset: CocoDataset, rank: int = 0, world: int = 1, examples: int = 0
) -> Evaluation:
    """Results of every picture, each predicted by one process and gathered in all.

    Memory grows with the detections alone: masks are RLEs from the operator on.

    Args:
        examples: keep the Detections of so many first pictures.
    """
    model.eval()
    index_of = {picture_id: index for index, picture_id in enumerate(dataset.picture_ids)}
    results: list[dict] = []
    kept: dict[int, Detections] = {}
    began, pictures = time.perf_counter(), 0
    with test_loader(config, dataset, rank, world) as loader:
        bar = progress_bar(len(loader), what="evaluation")
        with contextlib.closing(bar):
            for batch in loader.epoch():
                found = detect(model, config, batch.images, batch.image_sizes, batch.original_sizes)
                for picture_id, detections in zip(batch.picture_ids, found, strict=True):
                    results += detections.to_coco(picture_id, dataset.category_ids)
                    if index_of[picture_id] < examples:
                        detections.class_names = dataset.class_names
                        kept[index_of[picture_id]] = detections
                pictures += len(found)
                bar.update()
    seconds = (time.perf_counter() - began) / max(1, pictures)
    gathered = processes.gather((results, kept), world)
    results = [entry for part, _ in gathered for entry in part]
    kept = {index: found for _, part in gathered for index, found in part.items()}
    return Evaluation(results, examples=dict(sorted(kept.items())), seconds_per_picture=seconds)


def evaluate(
    model, config: Config, dataset: CocoDataset, rank: int = 0, world: int = 1, examples: int = 0
) -> Evaluation:
    """predict_dataset, and the AP of its results in the first process."""
    evaluation = predict_dataset(model, config, dataset, rank, world, examples)
    if rank == 0:
        measure(evaluation, config, dataset)
    return evaluation


def measure(evaluation: Evaluation, config: Config, dataset: CocoDataset) -> None:
    """Fill in the metrics of an evaluation from its results."""
    for metric in config.eval.metrics:
        scores = coco_ap(dataset.paths.annotations, evaluation.results, metric)
        evaluation.metrics.update({f"{metric}_{name}": v for name, v in scores.summary.items()})
        evaluation.per_class[metric] = scores.per_class


def table(evaluation: Evaluation, classwise: bool) -> str:
    """The metrics as lines for the log."""
    lines = []
    for metric, classes in evaluation.per_class.items():
        found = {
            name.removeprefix(f"{metric}_"): value
            for name, value in evaluation.metrics.items()
            if name.startswith(f"{metric}_")
        }
        lines.append(f"{metric:>4}: " + "  ".join(f"{k} {v:.4f}" for k, v in found.items()))
        if classwise:
            width = max(map(len, classes), default=0)
            lines += [f"      {name:<{width}}  {value:.4f}" for name, value in classes.items()]
    return "\n".join(lines)
