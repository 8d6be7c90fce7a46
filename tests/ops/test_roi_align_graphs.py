"""RoIAlign inside programs: compiled, trained, saved, and run by Paddle Inference with oneDNN."""

import numpy as np
import paddle
import pytest
from cases.roi_align import boxes_in_picture
from graphs import assert_same_in_graphs, load_predictor

import htc_ops
from htc_ops import _library

OLD = paddle.__version__.startswith("2.")


class Pooler(paddle.nn.Layer):
    """Arithmetic before and after, so that the operator is not alone in the graph."""

    def __init__(self):
        super().__init__()
        two = paddle.nn.initializer.Constant(2.0)
        self.two = self.create_parameter([1], default_initializer=two)

    def forward(self, fine, coarse, boxes, boxes_num):
        features = [fine * self.two, coarse * 2]
        pooled = htc_ops.multilevel_roi_align(features, boxes * 2, boxes_num, (3, 2), [4, 8])
        single = htc_ops.roi_align(features[0], boxes, boxes_num, 2, 0.25, 2, False)
        return pooled + 1, single * 2


class Detector(paddle.nn.Layer):
    """Convolutions, which oneDNN computes in layouts of its own, and a head of two levels."""

    def __init__(self):
        super().__init__()
        self.stem = paddle.nn.Conv2D(3, 16, 3, stride=4, padding=1)
        self.down = paddle.nn.Conv2D(16, 16, 3, stride=2, padding=1)
        self.head = paddle.nn.Linear(16 * 9, 5)

    def forward(self, image, boxes, boxes_num):
        fine = paddle.nn.functional.relu(self.stem(image))
        features = [fine, self.down(fine)]
        pooled = htc_ops.multilevel_roi_align(
            features, boxes, boxes_num, 3, [4, 8], canonical_size=16
        )
        return self.head(pooled.flatten(1))


def detector_inputs(counts, size=(64, 96), seed=0):
    image = np.random.default_rng(seed).standard_normal((len(counts), 3, *size), "float32")
    return image, boxes_in_picture(sum(counts), size, 4, 80, seed), np.int32(counts)


def test_in_graphs(tmp_path):
    specs = [
        paddle.static.InputSpec([None, 3, None, None], "float32", "fine"),
        paddle.static.InputSpec([None, 3, None, None], "float32", "coarse"),
        paddle.static.InputSpec([None, 4], "float32", "boxes"),
        paddle.static.InputSpec([None], "int32", "boxes_num"),
    ]
    examples = []
    for counts, (height, width) in (((4, 0, 7), (8, 12)), ((3,), (5, 20)), ((0, 1), (9, 9))):
        random = np.random.default_rng(len(counts))
        fine = random.standard_normal((len(counts), 3, 2 * height, 2 * width), "float32")
        coarse = random.standard_normal((len(counts), 3, height, width), "float32")
        boxes = boxes_in_picture(sum(counts), (8 * height, 8 * width), 4, 60)
        examples.append([fine, coarse, boxes, np.int32(counts)])
    assert_same_in_graphs(Pooler, specs, examples, tmp_path)


@pytest.mark.parametrize("full_graph", [True, False])
def test_trains_in_graphs(full_graph):
    if OLD and not full_graph:
        pytest.skip("Paddle 2.6 does not trace bytecode on every supported Python")
    paddle.seed(0)
    eager = Detector()
    compiled = Detector()
    compiled.set_state_dict(eager.state_dict())
    graph = paddle.jit.to_static(compiled, full_graph=full_graph)
    for counts in ((3, 5), (7,), (0, 2)):
        gradients = []
        for layer, run in ((eager, eager), (compiled, graph)):
            inputs = [paddle.to_tensor(array) for array in detector_inputs(counts)]
            inputs[0].stop_gradient = False
            run(*inputs).square().sum().backward()
            gradients.append(
                [inputs[0].grad.numpy()] + [p.grad.numpy() for p in layer.parameters()]
            )
            layer.clear_gradients()
        for actual, expected in zip(*gradients, strict=True):
            assert np.abs(expected).max() > 0
            np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


def saved_detector(folder):
    paddle.seed(0)
    layer = Detector()
    layer.eval()
    specs = [
        paddle.static.InputSpec([None, 3, None, None], "float32", "image"),
        paddle.static.InputSpec([None, 4], "float32", "boxes"),
        paddle.static.InputSpec([None], "int32", "boxes_num"),
    ]
    compiled = paddle.jit.to_static(layer, input_spec=specs, full_graph=True)
    paddle.jit.save(compiled, str(folder / "saved"))
    return layer, load_predictor(str(folder / "saved"))


def predict(predictor, arrays):
    for name, array in zip(("image", "boxes", "boxes_num"), arrays, strict=True):
        predictor.get_input_handle(name).copy_from_cpu(array)
    predictor.run()
    return predictor.get_output_handle(predictor.get_output_names()[0]).copy_to_cpu()


def test_inference_with_onednn_gives_the_eager_answers(tmp_path):
    layer, predictor = saved_detector(tmp_path)
    for counts in ((3, 5), (20,)):
        arrays = detector_inputs(counts, seed=len(counts))
        expected = layer(*map(paddle.to_tensor, arrays)).numpy()
        np.testing.assert_allclose(predict(predictor, arrays), expected, rtol=1e-4, atol=1e-5)


def test_a_onednn_layout_is_refused_and_not_misread(tmp_path, monkeypatch, capfd):
    # Without the copy that the library puts before every operator in a program.
    monkeypatch.setattr(_library, "_as_graph_input", lambda value, differentiable: value)
    layer, predictor = saved_detector(tmp_path)
    arrays = detector_inputs((3, 5))
    try:
        actual = predict(predictor, arrays)
    except (OSError, RuntimeError) as error:
        message = str(error) + capfd.readouterr().err  # Paddle Inference prints it
        assert "roi_align: features must be in plain NCHW layout" in message
        assert "paddle.assign" in message
    else:  # a Paddle that converts by itself
        expected = layer(*map(paddle.to_tensor, arrays)).numpy()
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)
