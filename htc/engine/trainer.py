"""The training loop."""

from __future__ import annotations

import contextlib
import logging
import time
from pathlib import Path

import paddle

import htc
from htc.checkpoint import model_arrays, save_weights
from htc.config import to_yaml
from htc.config.run_schema import Config
from htc.data import CocoDataset, semantic_source, train_loader
from htc.data.tensors import to_tensors
from htc.ema import AveragedWeights
from htc.engine import checkpoints, processes
from htc.engine.checkpoints import Checkpoint, CheckpointError, Position
from htc.engine.evaluate import Evaluation, evaluate, table
from htc.engine.optimizer import build_optimizer, optimizer_state, set_optimizer_state
from htc.engine.precision import Precision
from htc.engine.progress import Meter, MetricsFile, log_line, progress_bar
from htc.engine.randomness import seed_all
from htc.engine.signals import StopRequest
from htc.engine.writers import open_writers
from htc.schedule import learning_rate

logger = logging.getLogger("htc")
BEST, LAST, CONFIG = "best.safetensors", "last.safetensors", "config.yml"


class Trainer:
    """One run: model, optimiser, data and where it is.

    Args:
        config: of the run; `model.semantic.enabled` is cleared where there are no semantic maps.
        run: its folder.
        rank, world: of this process.
        val: data to evaluate on, or None.

    Attributes:
        model, optimizer: of the run.
        position: epoch, batch and step.
        evaluation: the last one, or None.
    """

    def __init__(
        self,
        config: Config,
        run: Path,
        rank: int = 0,
        world: int = 1,
        val: CocoDataset | None = None,
    ):
        self.config, self.run, self.rank, self.world, self.val = config, run, rank, world, val
        self.dataset = CocoDataset.from_config(config, "train")
        semantic, notice = semantic_source(config, self.dataset)
        if config.model.semantic.enabled and semantic is None:
            config.model.semantic.enabled = False
        for line in [*self.dataset.notices, notice]:
            if line:
                logger.info("%s", line)
        seed_all(config.runtime.seed)
        self.model = htc.build_model(config)
        if config.train.pretrained:
            htc.load_weights(self.model, config.train.pretrained)
        self.optimizer = build_optimizer(config.train, self.model)
        self.precision = Precision(config.train)
        decay = config.train.ema_decay
        self.average = AveragedWeights(self.model, decay) if decay else None
        # On CPUs the gradients are averaged here (see processes.meet), on GPUs by Paddle, which does
        # it while the backward pass still runs.
        self._paddle_averages = world > 1 and not paddle.get_device().startswith("cpu")
        self.parallel = paddle.DataParallel(self.model) if self._paddle_averages else self.model
        self._trained = [p for p in self.model.parameters() if not p.stop_gradient]
        self._statistics = _running_statistics(self.model) if world > 1 else []
        self.loader = train_loader(config, self.dataset, rank, world, semantic)
        self.position = Position(world=world, fingerprint=self._fingerprint())
        self.evaluation: Evaluation | None = None
        self.metrics: MetricsFile | None = None
        self._saved_step: int | None = None

    @property
    def steps_per_epoch(self) -> int:
        return len(self.loader) // self.config.train.accumulate

    @property
    def pictures_per_step(self) -> int:
        return self.config.data.batch_size * self.config.train.accumulate * self.world

    def resume(self, checkpoint: Checkpoint) -> None:
        """Go on where a checkpoint was written.

        Raises:
            CheckpointError: it is of another model, data set, batch or number of processes.
        """
        position = checkpoint.position
        for name, ours in self._fingerprint().items():
            theirs = position.fingerprint.get(name)
            if theirs != ours:
                raise CheckpointError(
                    f"--resume: the checkpoint was written with {name} = {theirs}, this run has"
                    f" {ours}: it would not go on as it began"
                )
        state = self.model.state_dict()
        if set(state) != set(checkpoint.weights):
            odd = sorted(set(state) ^ set(checkpoint.weights))
            raise CheckpointError(f"--resume: of another model: {', '.join(odd[:3])}")
        for name, tensor in state.items():
            if tuple(tensor.shape) != checkpoint.weights[name].shape:
                raise CheckpointError(
                    f"--resume: of another model: {name} is {list(checkpoint.weights[name].shape)}"
                    f" there, {list(tensor.shape)} here"
                )
            tensor.set_value(checkpoint.weights[name])
        try:
            set_optimizer_state(self.optimizer, self.model, checkpoint.optimizer)
        except ValueError as error:
            raise CheckpointError(f"--resume: {error}") from None
        if self.average is not None:
            if not checkpoint.ema:
                raise CheckpointError("--resume: the checkpoint has no averaged weights")
            self.average.values = {k: paddle.to_tensor(v) for k, v in checkpoint.ema.items()}
            self.average.updates = position.ema_updates
        self.precision.load(position.scaler)
        self.position = position
        self._saved_step = position.step

    def train(self, stop: StopRequest, evaluate_epochs: bool = False) -> bool:
        """Train to the end of the last epoch; False if `stop` ended it before.

        Raises:
            FloatingPointError: a loss is not finite; names the term and the pictures.
            DatasetError: a picture that cannot be used.
        """
        train, position = self.config.train, self.position
        if self.rank == 0:
            resumed = position.step if self._saved_step is not None else None
            writers = open_writers(self.config.runtime, self.run)
            self.metrics = MetricsFile(self.run, resumed, writers)
        with self.loader, contextlib.closing(self.metrics or contextlib.ExitStack()):
            while position.epoch < train.epochs:
                if not self._train_epoch(stop):
                    self.save()
                    return False
                position.epoch, position.batch = position.epoch + 1, 0
                last = position.epoch == train.epochs
                due = evaluate_epochs and position.epoch % self.config.eval.every_epochs == 0
                if due or (last and self.config.eval.at_end):
                    self.evaluate()
                if last or position.epoch % train.snapshot_epochs == 0:
                    self.save()
        return True

    def _train_epoch(self, stop: StopRequest) -> bool:
        config, position = self.config, self.position
        accumulate, batches = config.train.accumulate, len(self.loader)
        meter = Meter()
        self.model.train()
        bar = progress_bar(batches, position.batch, f"epoch {position.epoch}")
        began = time.perf_counter()
        try:
            for batch in self.loader.epoch(position.epoch, start=position.batch):
                arrived = time.perf_counter()
                rate = learning_rate(
                    config.train, position.step, self.steps_per_epoch, self.pictures_per_step
                )
                losses = self._forward_backward(batch)
                position.batch += 1
                stepped = position.batch % accumulate == 0
                if stepped:
                    self._step(rate)
                now = time.perf_counter()
                meter.add(losses, now - began, arrived - began, len(batch.picture_ids))
                began = now
                bar.update()
                if stepped:
                    if position.step % config.runtime.log_iter == 0 or position.batch == batches:
                        self._log(meter, rate, bar)
                    if processes.any_of(bool(stop), self.world):
                        return False
                    every = config.train.snapshot_iterations
                    if every and position.step % every == 0 and position.batch < batches:
                        self.save()
                        began = time.perf_counter()
        finally:
            bar.close()
        return True

    def _forward_backward(self, batch) -> dict:
        position, accumulate = self.position, self.config.train.accumulate
        turn = position.batch % accumulate
        seed_all(self.config.runtime.seed, position.step, turn * self.world + self.rank)
        images, sizes, ground_truth = to_tensors(batch)
        if self._paddle_averages and turn < accumulate - 1:
            with self.parallel.no_sync():
                return self._one_backward(images, sizes, ground_truth)
        return self._one_backward(images, sizes, ground_truth)

    def _one_backward(self, images, sizes, ground_truth) -> dict:
        with self.precision.autocast():
            losses = self.parallel(images, sizes, ground_truth)
        self.precision.backward(losses["loss"] / self.config.train.accumulate)
        return losses

    def _step(self, rate: float) -> None:
        self.optimizer.set_lr(rate)
        if self._paddle_averages:
            processes.average(self._statistics, self.world)
        else:
            processes.average_gradients(self._trained, self._statistics, self.world)
        self.precision.step(self.optimizer)
        self.optimizer.clear_grad()
        self.position.step += 1
        if self.average is not None:
            self.average.update(self.model)

    def _log(self, meter: Meter, rate: float, bar) -> None:
        position, batches = self.position, len(self.loader)
        means = meter.take()
        left = (self.config.train.epochs - position.epoch) * batches - position.batch
        eta = left * means["batch_cost"]
        if self.rank == 0:
            line = log_line(position.epoch, position.batch, batches, rate, means, eta)
            logger.info("%s", line)
            bar.set_postfix_str(f"loss {means['loss']:.3f}")
            entry = {"epoch": position.epoch, "batch": position.batch, "learning_rate": rate}
            self.metrics.write("train", position.step, **entry, **means)

    def evaluate(self) -> None:
        """AP with the averaged weights, if there are any; keeps the best weights."""
        if self.val is None:
            return
        logger.info("evaluation on %d pictures", len(self.val))
        examples = self.config.eval.overlays
        args = (self.config, self.val, self.rank, self.world, examples)
        if self.average is not None:
            with self.average.applied(self.model):
                self.evaluation = evaluate(self.model, *args)
        else:
            self.evaluation = evaluate(self.model, *args)
        if self.rank != 0:
            return
        logger.info("%s", table(self.evaluation, self.config.eval.classwise))
        position, metrics = self.position, self.evaluation.metrics
        self.metrics.write("eval", position.step, epoch=position.epoch, **metrics)
        score = metrics[f"{self.config.eval.best}_AP"]
        if position.best is None or score > position.best:
            position.best, position.best_epoch = score, position.epoch
            save_weights(self.run / BEST, self._weights_to_use(), self._metadata(best=score))
            logger.info(
                "best %s AP so far: %.4f -> %s", self.config.eval.best, score, self.run / BEST
            )

    def save(self) -> None:
        """Write a checkpoint and last.safetensors; the first process does it for all."""
        if self.rank != 0 or self._saved_step == self.position.step:
            return
        position = self.position
        position.scaler = self.precision.state()
        ema = {}
        if self.average is not None:
            ema = {name: tensor.numpy() for name, tensor in self.average.values.items()}
            position.ema_updates = self.average.updates
        checkpoint = Checkpoint(
            position, model_arrays(self.model), optimizer_state(self.optimizer, self.model), ema
        )
        metadata = self._metadata()
        folder = checkpoints.save(
            self.run, checkpoint, metadata, self.config.train.keep_checkpoints
        )
        if ema:
            save_weights(self.run / LAST, ema, metadata)
        else:
            checkpoints.link_weights(folder / checkpoints.WEIGHTS, self.run / LAST)
        self._saved_step = position.step
        logger.info("saved %s", folder)

    def _weights_to_use(self):
        if self.average is None:
            return self.model
        return {name: tensor.numpy() for name, tensor in self.average.values.items()}

    def _metadata(self, **more) -> dict[str, str]:
        facts = {"config": to_yaml(self.config), "epoch": self.position.epoch, **more}
        facts["classes"] = "\n".join(self.dataset.class_names)
        return {"format": "htc", "version": "1", **{k: str(v) for k, v in facts.items()}}

    def _fingerprint(self) -> dict:
        """What must be the same for a resumed run to go on exactly."""
        config = self.config
        return {
            "pictures": len(self.dataset),
            "processes": self.world,
            "data.batch_size": config.data.batch_size,
            "train.accumulate": config.train.accumulate,
            "runtime.seed": config.runtime.seed,
        }


def _running_statistics(model) -> list:
    """The means and variances that batch norm layers collect in training."""
    layers = (layer for layer in model.sublayers() if isinstance(layer, paddle.nn.BatchNorm2D))
    moving = [layer for layer in layers if not layer._use_global_stats]
    return [tensor for layer in moving for tensor in (layer._mean, layer._variance)]
