"""AP with every convolution and linear layer in bfloat16, rounded as a processor with it rounds.

    python benchmarks/bf16_accuracy.py -o weights=output/htc_demo/best.safetensors

Takes the options of python -m htc.eval and runs on any processor, slowly: weights, inputs and
results of these layers are rounded to bfloat16, products added up in float32, as AVX512-BF16 and
AMX do it. It says nothing of speed, and is no substitute for --precision bf16 where that runs:
there the sums between these layers are rounded too.
"""

import json
import sys
from pathlib import Path

import paddle
from paddle import nn

from htc.commands import command_parser, configuration, run
from htc.config import ConfigError
from htc.data import CocoDataset
from htc.deploy.sources import open_source
from htc.engine.evaluate import evaluate, table
from htc.engine.progress import start_logging
from htc.engine.setup import prepare_threads, set_device

LAYERS = (nn.Conv2D, nn.Conv2DTranspose, nn.Linear)


def rounded(x):
    """float32 of the same values at bfloat16's precision."""
    return x.astype("bfloat16").astype("float32")


def round_layers(network: nn.Layer) -> int:
    """Make the layers of a network compute as bfloat16 ones; returns how many."""
    layers = [layer for layer in network.sublayers() if isinstance(layer, LAYERS)]
    for layer in layers:
        layer.weight.set_value(rounded(layer.weight))
        layer.register_forward_pre_hook(lambda layer, inputs: tuple(map(rounded, inputs)))
        layer.register_forward_post_hook(lambda layer, inputs, result: rounded(result))
    return len(layers)


def compare(options) -> int:
    config = configuration(options)
    if not config.weights:
        raise ConfigError("weights: expected trained weights, got none; give -o weights=PATH")
    prepare_threads(config.runtime)
    set_device("cpu")
    start_logging(None, 0)
    source = open_source(config.weights, config)
    network = source.build()
    network.eval()
    dataset = CocoDataset.from_config(source.config, "val")
    found = {}
    for name in ("fp32", "bf16"):
        if name == "bf16":
            print(f"{round_layers(network)} layers rounded to bfloat16")
        evaluation = evaluate(network, source.config, dataset, 0, 1)
        print(f"{name}\n{table(evaluation, False)}", flush=True)
        found[name] = evaluation.metrics
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    parser = command_parser("bf16_accuracy", "AP in bfloat16 arithmetic beside float32.", "")
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write the numbers as JSON")
    arguments = parser.parse_args()
    paddle.set_grad_enabled(False)
    sys.exit(run(lambda: compare(arguments)))
