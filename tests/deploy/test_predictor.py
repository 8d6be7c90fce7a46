"""htc.Predictor on an exported model: engines, cache, threads, memory."""

from __future__ import annotations

import itertools
import logging
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from small_weights import CLASSES, picture, write_small_weights

import htc
import htc_ops
from htc.deploy import ExportedNetwork, ExportError, PredictorPool
from htc.deploy.sources import open_source
from htc.deploy.writing import write_export

SHAPES = [(40, 60), (60, 40), (33, 64), (50, 50)]


def assert_equal(one, other, tolerance=0.0):
    np.testing.assert_allclose(one.boxes, other.boxes, rtol=0, atol=tolerance)
    np.testing.assert_allclose(one.scores, other.scores, rtol=0, atol=tolerance)
    np.testing.assert_array_equal(one.labels, other.labels)


@pytest.fixture(scope="module")
def predictor(exported):
    return htc.Predictor(exported, device="cpu")


@pytest.fixture(scope="module")
def eager(weights):
    return htc.Predictor(weights, device="cpu", engine="eager")


def test_an_export_is_as_good_as_the_weights(predictor, eager):
    assert (predictor.engine, eager.engine) == ("inference", "eager")
    assert predictor.class_names == CLASSES and predictor.precision == "fp32"
    pictures = [picture(*shape, seed) for seed, shape in enumerate(SHAPES)]
    for one, other in zip(predictor(pictures), eager(pictures), strict=True):
        assert len(one) and one.size == other.size
        assert_equal(one, other, 1e-3)
        assert (one.bitmaps() != other.bitmaps()).mean() < 1e-3


def test_weights_are_exported_once_and_kept(weights, monkeypatch, tmp_path, caplog, eager):
    monkeypatch.setenv("HTC_CACHE", str(tmp_path))
    caplog.set_level(logging.INFO, "htc")
    first = htc.Predictor(weights, device="cpu")
    assert first.engine == "inference" and "exporting the model once" in caplog.text
    (folder,) = tmp_path.iterdir()
    caplog.clear()
    second = htc.Predictor(weights, device="cpu")
    assert "exporting" not in caplog.text and list(tmp_path.iterdir()) == [folder]
    (one,), (other,), (expected,) = first(picture()), second(picture()), eager(picture())
    assert_equal(one, other)
    assert_equal(one, expected, 1e-3)
    # A kept export that was damaged is made again.
    parameters = folder / "model.pdiparams"
    parameters.write_bytes(parameters.read_bytes()[:-1])
    (again,) = htc.Predictor(weights, device="cpu")(picture())
    assert "is damaged or was changed" in caplog.text
    assert_equal(again, expected, 1e-3)


def test_several_views_of_an_export_need_the_weights(predictor):
    with pytest.raises(ExportError, match="need the weights that it was made of"):
        predictor(picture(), flip=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"engine": "fast"}, "engine: expected one of auto, eager, inference, got 'fast'"),
        ({"engine": "eager"}, "is an export, which only 'inference' runs"),
        ({"precision": "fp16"}, "precision: expected 'fp32', 'bf16' or 'auto', got 'fp16'"),
        ({"config": "htc_r50_fpn_1x_coco"}, "which has its own"),
    ],
)
def test_wishes_that_cannot_be(exported, arguments, message):
    with pytest.raises(ValueError, match=message):
        htc.Predictor(exported, device="cpu", **arguments)


def test_boxes_alone_and_a_threshold(predictor):
    (everything,) = predictor(picture())
    (boxes,) = predictor(picture(), masks=False)
    assert boxes.masks is None
    assert_equal(boxes, everything)
    middle = float(np.median(everything.scores))
    (best,) = predictor(picture(), score=middle)
    assert 0 < len(best) < len(everything) and len(best.masks) == len(best)
    assert best.masks == everything.masks[: len(best)]


def test_threads_get_their_own_answers(predictor):
    pictures = [picture(*SHAPES[seed % 4], seed) for seed in range(12)]
    expected = predictor(pictures)
    pool = PredictorPool(predictor, 2)
    with ThreadPoolExecutor(4) as threads:
        for shared in (pool, predictor):
            for _ in range(2):
                found = list(threads.map(lambda p, call=shared: call(p)[0], pictures))
                for one, other in zip(found, expected, strict=True):
                    assert_equal(one, other, 1e-3)
    with pytest.raises(ValueError, match="size: expected 1 or more, got 0"):
        PredictorPool(predictor, 0)


def test_other_python_threads_go_on_during_a_prediction(tmp_path):
    """Paddle Inference holds Python's lock through a run; large convolutions give it back."""
    wide = [f"model.{part}.channels=32" for part in ("fpn", "rpn", "semantic", "mask_head")]
    source = open_source(write_small_weights(tmp_path, *wide))
    folder = write_export(tmp_path / "out", source.build(), source.config, None, check=False)
    network = ExportedNetwork(folder)
    inputs = np.zeros([1, 3, 192, 192], "float32"), np.float32([[192, 192]])
    network(*inputs)
    ticks, done = itertools.count(), threading.Event()

    def tick():
        while not done.is_set():
            next(ticks)
            time.sleep(0)  # gives the lock back

    thread = threading.Thread(target=tick)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)  # the lock changes hands only where it is given back
    try:
        thread.start()
        before = next(ticks)
        network._inference.run()
        during = next(ticks) - before - 1
    finally:
        sys.setswitchinterval(interval)
        done.set()
        thread.join()
    assert during > 0


def test_threads_are_those_of_the_operators_too(predictor, exported):
    before = htc_ops.get_num_threads()
    try:
        alone = htc.Predictor(exported, threads=1)
        assert htc_ops.get_num_threads() == 1
        assert_equal(alone(picture())[0], predictor(picture())[0], 1e-3)
    finally:
        htc_ops.set_num_threads(before)


def test_a_failed_call_gives_its_predictor_back(predictor):
    pool = PredictorPool(predictor, 1)
    for _ in range(3):
        with pytest.raises(TypeError):
            pool([7])
    assert len(pool(picture())) == 1


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.slow
def test_memory_does_not_grow(predictor):
    """1,000 predictions after the first 200, pictures of 40 sizes."""
    random = np.random.default_rng(0)
    sizes = random.integers(30, 90, (40, 2))

    def predict(count):
        for _ in range(count):
            predictor(picture(*sizes[random.integers(len(sizes))]))

    predict(200)
    before = resident_mib()
    predict(1000)
    assert resident_mib() - before < 10


def test_a_large_picture_costs_little_more_than_itself(predictor):
    import resource

    predictor(picture())
    small = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    large = picture(3000, 4000)
    (found,) = predictor(large)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    assert found.size == (3000, 4000) and len(found.masks) == len(found) > 0
    assert peak - small < 4 * large.nbytes / 2**20 + 50


@pytest.mark.slow
def test_channels_that_are_no_multiple_of_eight(tmp_path):
    weights = write_small_weights(tmp_path, "model.fpn.channels=12", "model.semantic.channels=12",
                                  "model.mask_head.channels=12")  # fmt: skip
    one = htc.Predictor(weights, device="cpu", engine="inference")
    other = htc.Predictor(weights, device="cpu", engine="eager")
    assert_equal(one(picture())[0], other(picture())[0], 1e-3)
