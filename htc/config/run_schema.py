"""Keys of data, training, evaluation and the run itself; the model's are in schema.py."""

# ruff: noqa: RUF009  (key() returns a dataclasses.field)
from __future__ import annotations

from dataclasses import dataclass

from htc.config.schema import ModelConfig, key


@dataclass
class SplitConfig:
    """One part of a COCO-format data set; paths are relative to data.root unless absolute."""

    images: str = key("", "folder of pictures")
    annotations: str = key("", "COCO json of the instances")
    semantic: str | None = key(
        None, "folder of semantic maps (PNG of label ids); null: there are none"
    )


@dataclass
class DemoConfig:
    """The generated demo data set, when data.kind is demo."""

    train_pictures: int = key(400, "pictures to train on", minimum=1)
    val_pictures: int = key(80, "held-out pictures", minimum=1)
    size: int = key(192, "longer side, px", minimum=32)
    seed: int = key(0, "seed of the generator", minimum=0)


@dataclass
class DataConfig:
    kind: str = key("coco", "coco: files on disk; demo: generated once", choices=("coco", "demo"))
    root: str = key("data/coco", "folder of the data set (demo: where it is kept)")
    train: SplitConfig = key(SplitConfig, "pictures to train on")
    val: SplitConfig = key(SplitConfig, "pictures to evaluate on")
    demo: DemoConfig = key(DemoConfig, "size of the demo data set")
    semantic_from_instances: bool = key(
        False, "without semantic maps, make them from the instance masks"
    )
    mean: tuple[float, float, float] = key(
        (123.675, 116.28, 103.53), "RGB mean taken off the 0-255 picture"
    )
    std: tuple[float, float, float] = key(
        (58.395, 57.12, 57.375), "RGB deviation that it is divided by", above=0
    )
    train_short_sides: tuple[int, ...] = key(
        (800,), "short side in training, px: one is drawn for each picture", minimum=1
    )
    short_side_mode: str = key(
        "choice",
        "draw one of train_short_sides, or any length between the first and the last",
        choices=("choice", "range"),
    )
    train_long_side: int = key(1333, "the long side is at most this in training, px", minimum=1)
    test_short_side: int = key(800, "short side at test, px", minimum=1)
    test_long_side: int = key(1333, "the long side is at most this at test, px", minimum=1)
    flip: float = key(0.5, "probability of a horizontal flip", minimum=0, maximum=1)
    pad_divisor: int = key(32, "pictures are padded to a multiple of it", minimum=32)
    skip_empty: bool = key(True, "leave out training pictures without instances")
    group_by_aspect: bool = key(True, "batch wide pictures with wide, tall with tall ones")
    batch_size: int = key(2, "training pictures a step on each device", minimum=1)
    test_batch_size: int = key(1, "pictures a step at test on each device", minimum=1)
    workers: int = key(2, "loading processes for each device; 0 loads in the main one", minimum=0)


@dataclass
class TrainConfig:
    """The optimiser, its learning rate over time, and what is kept of the run."""

    pretrained: str | None = key(
        None,
        "weights to start from: a backbone or a whole model, any format that htc.convert reads;"
        " null: random",
    )
    epochs: int = key(12, "passes over the training pictures", minimum=1)
    learning_rate: float = key(0.02, "for base_batch_size pictures a step", above=0)
    base_batch_size: int = key(
        16, "the rate is scaled by pictures a step / this; 0: taken as it is", minimum=0
    )
    optimizer: str = key("sgd", "sgd with momentum, or adamw", choices=("sgd", "adamw"))
    momentum: float = key(0.9, "of sgd", minimum=0, maximum=1)
    weight_decay: float = key(1e-4, "on every trained parameter", minimum=0)
    warmup_iterations: int = key(500, "steps of linear warm-up", minimum=0)
    warmup_factor: float = key(0.001, "the rate starts at this share", minimum=0, maximum=1)
    schedule: str = key(
        "step",
        "step: the rate falls after each of train.steps; cosine: along half a cosine, to 0 at the end",
        choices=("step", "cosine"),
    )
    steps: tuple[int, ...] = key((8, 11), "epochs after which the rate falls", minimum=1)
    gamma: float = key(0.1, "by this factor", above=0, maximum=1)
    clip_norm: float = key(0.0, "largest norm of the whole gradient; 0: no clipping", minimum=0)
    accumulate: int = key(1, "batches whose gradients are averaged into one step", minimum=1)
    ema_decay: float = key(0.0, "decay of averaged weights; 0: none kept", minimum=0, maximum=1)
    amp: bool = key(False, "mixed precision (the same as --amp)")
    amp_dtype: str = key(
        "auto",
        "auto: float16. On a CPU Paddle trains in float32 whatever is asked for",
        choices=("auto", "float16", "bfloat16"),
    )
    snapshot_epochs: int = key(1, "epochs between checkpoints", minimum=1)
    snapshot_iterations: int = key(0, "also every so many steps; 0: at epochs alone", minimum=0)
    keep_checkpoints: int = key(3, "newest checkpoints kept, beside the best", minimum=1)


@dataclass
class EvalConfig:
    every_epochs: int = key(1, "evaluate after every so many epochs (with --eval)", minimum=1)
    at_end: bool = key(True, "evaluate when training ends, where there are data to evaluate on")
    overlays: int = key(12, "pictures of predictions beside ground truth in the report", minimum=0)
    metrics: tuple[str, ...] = key(
        ("box", "mask"), "COCO average precisions to compute", choices=("box", "mask")
    )
    best: str = key("mask", "AP that picks the best checkpoint", choices=("box", "mask"))
    classwise: bool = key(False, "also print AP of every class")


@dataclass
class RuntimeConfig:
    output: str = key("output", "runs are written to <output>/<name>")
    device: str = key("auto", "auto: the GPU where there is one", choices=("auto", "cpu", "gpu"))
    seed: int = key(0, "of weights, sampling, order and augmentation", minimum=0)
    threads: int = key(0, "CPU threads; 0: the processors at hand", minimum=0)
    processes: int = key(
        1,
        "processes on the CPU that share the training; each has its own data.batch_size pictures"
        " (GPUs: paddle.distributed.launch)",
        minimum=1,
    )
    log_iter: int = key(20, "steps between log lines", minimum=1)
    visualdl: bool = key(False, "also log for VisualDL")
    tensorboard: bool = key(False, "also log for TensorBoard")


@dataclass
class Config:
    """A whole configuration; `htc.load_config` makes it, `htc.build_model` takes it."""

    name: str = key("", "name of the run; the file's name when not given")
    num_classes: int = key(80, "classes of instances, background not counted", minimum=1)
    num_semantic_classes: int = key(183, "classes of the semantic maps", minimum=1)
    weights: str | None = key(
        None, "trained weights for eval, infer and export (training: train.pretrained)"
    )
    model: ModelConfig = key(ModelConfig, "the network")
    data: DataConfig = key(DataConfig, "pictures and how they are prepared")
    train: TrainConfig = key(TrainConfig, "optimisation")
    eval: EvalConfig = key(EvalConfig, "evaluation")
    runtime: RuntimeConfig = key(RuntimeConfig, "device, logging, output")
