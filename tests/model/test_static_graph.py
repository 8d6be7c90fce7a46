"""The inference pass as a static graph: any batch, any size, the answers of the eager network."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from small_models import batch_of, tiny_model


@pytest.fixture(scope="module", params=["detections", "no detections", "one box a class, no masks"])
def pair(request, tmp_path_factory):
    """(the eager network, the same saved as a graph and loaded again)."""
    changes = {
        "detections": {"test": {"score_threshold": 0.0}},
        "no detections": {"test": {"score_threshold": 1.0}},
        "one box a class, no masks": {
            "test": {"score_threshold": 0.0},
            "box_head": {"class_agnostic": False},
            "mask_head": {"enabled": False},
        },
    }[request.param]
    path = str(tmp_path_factory.mktemp("graph") / "model")
    spec = [
        paddle.static.InputSpec([None, 3, None, None], "float32", "images"),
        paddle.static.InputSpec([None, 2], "float32", "image_sizes"),
    ]
    model = tiny_model(**changes)
    model.eval()
    paddle.jit.save(model, path, input_spec=spec)
    eager = tiny_model(**changes)
    eager.eval()
    return eager, paddle.jit.load(path)


@pytest.mark.parametrize("sizes", [[(64, 96)], [(50, 70), (96, 40), (33, 64)]])
def test_a_saved_graph_answers_as_the_network(pair, sizes):
    eager, graph = pair
    images, image_sizes = batch_of(sizes)
    with paddle.no_grad():
        expected = eager(images, image_sizes)
        answers = graph(images, image_sizes)
    expected = [value for value in expected if value is not None]
    assert len(answers) == len(expected)
    for ours, theirs in zip(answers, expected, strict=True):
        assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=1e-4)
