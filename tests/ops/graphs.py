"""Runs a layer the other ways that Paddle has: compiled, saved, and in inference."""

import os

import numpy as np
import paddle


def assert_same_in_graphs(layer_class, specs, examples, tmp_path):
    """Assert that a layer gives the same bits eagerly and in every kind of graph.

    Args:
        layer_class: makes the layer; its forward takes tensors and returns a tuple of them. It
            needs a parameter: Paddle 2.6 does not load a saved program without any.
        specs: an InputSpec a tensor; None marks the sizes that change.
        examples: lists of arrays, one list a call; their sizes should differ.
        tmp_path: folder for the saved program.
    """
    expected = [_numpy(layer_class()(*map(paddle.to_tensor, arrays))) for arrays in examples]
    for full_graph in (True, False):
        if not full_graph and paddle.__version__.startswith("2."):
            continue  # Paddle 2.6 does not trace bytecode on every supported Python
        compiled = paddle.jit.to_static(layer_class(), full_graph=full_graph)
        for arrays, results in zip(examples, expected, strict=True):
            _assert_equal(compiled(*map(paddle.to_tensor, arrays)), results)

    path = str(tmp_path / "saved")
    layer = paddle.jit.to_static(layer_class(), input_spec=specs, full_graph=True)
    layer.eval()
    paddle.jit.save(layer, path)
    loaded, predictor = paddle.jit.load(path), load_predictor(path)
    for arrays, results in zip(examples, expected, strict=True):
        _assert_equal(loaded(*map(paddle.to_tensor, arrays)), results)
        # Handles go by name, in the order of the specs.
        for spec, array in zip(specs, arrays, strict=True):
            predictor.get_input_handle(spec.name).copy_from_cpu(array)
        predictor.run()
        outputs = [
            predictor.get_output_handle(name).copy_to_cpu() for name in predictor.get_output_names()
        ]
        _assert_equal(outputs, results)


def load_predictor(path):
    """Return a predictor of Paddle Inference, oneDNN on, for what `paddle.jit.save` wrote."""
    program = path + (".json" if os.path.exists(path + ".json") else ".pdmodel")
    config = paddle.inference.Config(program, path + ".pdiparams")
    config.disable_gpu()
    config.disable_glog_info()
    config.enable_mkldnn()
    return paddle.inference.create_predictor(config)


def _numpy(outputs):
    return [np.asarray(output) for output in outputs]


def _assert_equal(outputs, expected):
    for output, should in zip(_numpy(outputs), expected, strict=True):
        assert output.dtype == should.dtype
        np.testing.assert_array_equal(output, should)
