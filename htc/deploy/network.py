"""An exported model in Paddle Inference, called as the eager network is."""

from __future__ import annotations

import logging
import re
import threading
from pathlib import Path

import numpy as np
import paddle

import htc_ops
from htc.deploy.errors import ExportError
from htc.deploy.manifest import AGAIN, read_manifest
from htc.deploy.processor import computes_bfloat16, default_threads
from htc.model.postprocess import Detections

logger = logging.getLogger("htc")

# oneDNN keeps what it prepared for each shape: for so many shapes, or memory grows with every new
# size of a picture.
CACHED_SHAPES = 10

# These take an unsqueeze, reshape or scale into the operator before it, also where oneDNN then does
# not run that one (integers): the step is lost. Seen with Paddle 3.3.1.
WRONG_PASSES = tuple(
    f"operator_{step}_onednn_fuse_pass"
    for step in ("unsqueeze", "unsqueeze2", "reshape", "reshape2", "scale")
)


class ExportedNetwork:
    """Pictures to detections by an exported program, on the CPU.

    May be called from several threads: the calls wait for each other. For calls side by side give
    each thread a `clone()`, which shares the weights.

    Args:
        folder: what python -m htc.export wrote.
        precision: "fp32" or "bf16" where it must be that one; None or "auto": as exported.
        threads: of the CPU, those of htc_ops too, which are one number in the whole process
            (htc_ops.set_num_threads); None: OMP_NUM_THREADS, or the processors at hand.
        check_files: compare the files with their hashes first.

    Attributes:
        manifest, config: of the export. precision: "fp32" or "bf16".

    Raises:
        ExportError: damaged, of other versions, made for operators that are not installed, or of
            another precision.
    """

    def __init__(
        self,
        folder: str | Path,
        precision: str | None = None,
        threads: int | None = None,
        check_files: bool = True,
    ):
        self.folder = Path(folder)
        self.manifest = read_manifest(folder, check_files)
        self.config = self.manifest.configuration()
        self.precision = self.manifest.precision
        if precision not in (None, "auto", self.precision):
            raise ExportError(
                f"precision: {folder} was exported for {self.precision!r}, which {precision!r} is"
                f" not; export it with --precision {precision}, or leave precision out"
            )
        _check_operators(self.folder, self.manifest.operators)
        if self.precision == "bf16" and not computes_bfloat16():
            logger.warning(
                "%s was exported for bf16, which this processor computes slowly; export it with"
                " --precision fp32",
                folder,
            )
        if threads is None:
            threads = default_threads()
        else:
            htc_ops.set_num_threads(threads)
        try:
            program = self.folder / self.manifest.program()
            settings = inference_settings(program, threads)
            inference = paddle.inference.create_predictor(settings)
        except Exception as error:  # of many types, C++ in origin
            reason = str(error).strip().splitlines()[-1]
            raise ExportError(f"{folder}: Paddle cannot load it: {reason}; {AGAIN}") from error
        self._hold(inference)

    def _hold(self, inference) -> None:
        self._inference, self._lock = inference, threading.Lock()

    def __call__(self, images, image_sizes) -> Detections:
        """images [B, 3, H, W] float32, image_sizes [B, 2] float32 -> Detections, as the network."""
        with self._lock:
            for name, value in (("images", images), ("image_sizes", image_sizes)):
                handle = self._inference.get_input_handle(name)
                handle.copy_from_cpu(np.ascontiguousarray(value, np.float32))
            self._inference.run()
            results = [
                paddle.to_tensor(self._inference.get_output_handle(name).copy_to_cpu(), place=_CPU)
                for name in self._inference.get_output_names()
            ]
        found = dict(zip(self.manifest.outputs, results, strict=True))
        return Detections(**{"mask_probs": None, **found})

    def clone(self) -> ExportedNetwork:
        """Another one for another thread; the weights are shared."""
        twin = object.__new__(ExportedNetwork)
        twin.folder, twin.precision = self.folder, self.precision
        twin.manifest, twin.config = self.manifest, self.config
        with self._lock:
            twin._hold(self._inference.clone())
        return twin

    def eval(self) -> ExportedNetwork:
        """Itself: a program is always in eval mode. Here so that it can stand in for a Layer."""
        return self


_CPU = paddle.CPUPlace()


def inference_settings(program: Path, threads: int):
    """How Paddle Inference runs a program on the CPU; the parameters lie beside it."""
    settings = paddle.inference.Config(str(program), str(program.with_suffix(".pdiparams")))
    settings.disable_gpu()
    settings.disable_glog_info()
    if _has_convolutions_of_paddle(program):
        settings.set_cpu_math_library_num_threads(threads)
        settings.enable_mkldnn()
        settings.set_mkldnn_cache_capacity(CACHED_SHAPES)
        for name in WRONG_PASSES:
            settings.delete_pass(name)
    else:
        # The threads of these libraries go on spinning after each small step, on the processors
        # that ours need.
        settings.set_cpu_math_library_num_threads(1)
        settings.disable_mkldnn()
    if program.suffix == ".pdmodel":
        settings.enable_memory_optim()  # Paddle 3's programs have no such pass
    return settings


def _has_convolutions_of_paddle(program: Path) -> bool:
    """Whether there is work for oneDNN; yes where that cannot be told."""
    if program.suffix != ".json":
        return True
    return re.search(rb'(?<!htc_)conv2d(_transpose)?"', program.read_bytes()) is not None


def choose_precision(precision: str | None) -> str:
    """ "fp32" or "bf16" for a wish, which may be "auto", or None: "fp32".

    Raises:
        ExportError: another wish, or bf16 on a processor that does not compute it.
    """
    if precision not in (None, "fp32", "bf16", "auto"):
        raise ExportError(f"precision: expected 'fp32', 'bf16' or 'auto', got {precision!r}")
    if precision is None:
        return "fp32"
    native = computes_bfloat16()
    if precision == "bf16" and not native:
        raise ExportError(
            "precision: 'bf16' needs a processor with amx_bf16, or AMD's with avx512_bf16 (and"
            " htc_ops compiled by g++ 11 or newer); on this one it would be slower than 'fp32': use"
            " that or 'auto'"
        )
    if precision == "auto":
        precision = "bf16" if native else "fp32"
        reason = "computes" if native else "does not compute"
        logger.info("precision: %s, for the processor %s bfloat16 itself", precision, reason)
    return precision


def _check_operators(folder: Path, operators: list[str]) -> None:
    missing = [name for name in operators if not is_registered(name)]
    if missing:
        raise ExportError(
            f"{folder} was made for operators that are not installed: {', '.join(missing)};"
            f" install the htc it was exported with, or {AGAIN}"
        )


def is_registered(operator: str) -> bool:
    """Whether the running Paddle knows an operator."""
    try:
        paddle.base.framework.OpProtoHolder.instance().get_op_proto(operator)
    except ValueError:
        return False
    return True
