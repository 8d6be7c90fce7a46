"""Device, threads and model of a run."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from htc.config.parsing import ConfigError
from htc.config.run_schema import Config, RuntimeConfig

logger = logging.getLogger("htc")


def prepare_threads(runtime: RuntimeConfig) -> None:
    """Set the CPU threads and kernels; to be called before Paddle is imported, which reads them once.

    Paddle sets OMP_NUM_THREADS to 1 on import where it is not set. An environment that says
    otherwise is left alone.
    """
    prepare_kernels()
    if runtime.threads:
        os.environ["OMP_NUM_THREADS"] = os.environ["HTC_OPS_NUM_THREADS"] = str(runtime.threads)
    elif "OMP_NUM_THREADS" not in os.environ and "PADDLE_TRAINERS_NUM" not in os.environ:
        os.environ["OMP_NUM_THREADS"] = str(min(8, len(os.sched_getaffinity(0))))


def prepare_kernels(cpu_info: Path = Path("/proc/cpuinfo")) -> None:
    """Let Paddle's matrix library use AVX2 on AMD processors too.

    Paddle for CPUs multiplies matrices, those of convolutions too, with MKL-ML 2019, which takes
    its slowest (SSE2) kernels on a processor that is not Intel's. This setting of it names the
    AVX2 ones: 2.7 times as fast on a Zen 3. Nothing else reads it; other processors are left alone.
    """
    try:
        facts = cpu_info.read_text().lower()
    except OSError:  # not Linux: nothing is known
        return
    if "authenticamd" in facts and " avx2" in facts and " fma" in facts:
        os.environ.setdefault("MKL_DEBUG_CPU_TYPE", "5")


def set_device(choice: str) -> str:
    """Choose the device of this process; returns its name.

    Raises:
        ConfigError: a GPU is asked for, and there is none.
    """
    import paddle
    import paddle.distributed as dist

    count = paddle.device.cuda.device_count() if paddle.is_compiled_with_cuda() else 0
    if choice == "gpu" and count == 0:
        built = "finds none" if paddle.is_compiled_with_cuda() else "is a build for CPUs"
        raise ConfigError(f"runtime.device: a GPU is asked for, but this Paddle {built}")
    if choice == "cpu" or count == 0:
        return paddle.set_device("cpu")
    return paddle.set_device(f"gpu:{dist.ParallelEnv().device_id}")


def load_trained(config: Config):
    """The model of a configuration with its trained weights, in eval mode.

    Raises:
        ConfigError: no weights are given, or they do not fill the model.
        WeightError: the file cannot be read, or nothing in it fits.
    """
    import htc

    if not config.weights:
        raise ConfigError("weights: expected trained weights, got none; give -o weights=PATH")
    model = htc.build_model(config)
    report = htc.load_weights(model, weights_file(config.weights))
    if not report.complete:
        lacking = report.missing + [mismatch.name for mismatch in report.mismatched]
        raise ConfigError(
            f"weights: {config.weights} does not fill the model: {len(lacking)} parameters are"
            f" missing or of another shape, first {lacking[0]}; is it of this configuration"
            f" ({config.name}, num_classes={config.num_classes})?"
        )
    model.eval()
    return model


def weights_file(path: str | Path) -> Path:
    """The weight file of a path, which may be a checkpoint's folder or a run folder."""
    path = Path(path)
    if path.is_dir():
        for name in ("best.safetensors", "last.safetensors", "weights.safetensors"):
            if (path / name).is_file():
                return path / name
    return path
