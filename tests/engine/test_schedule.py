"""The learning rate, against values worked out by hand from mmdetection's schedule_1x."""

import pytest

from htc.config import TrainConfig
from htc.schedule import base_rate, learning_rate

TRAIN = TrainConfig()  # 0.02 for 16 pictures, 500 steps from 0.001, falls after 8 and 11 of 12


def rate(step, steps_per_epoch=1000, pictures=16, train=TRAIN):
    return learning_rate(train, step, steps_per_epoch, pictures)


def test_warm_up_starts_at_its_factor_and_ends_at_the_full_rate():
    assert rate(0) == pytest.approx(0.02 * 0.001)
    assert rate(250) == pytest.approx(0.02 * (0.001 + 0.999 * 0.5))
    assert rate(500) == pytest.approx(0.02)


def test_the_rate_falls_after_whole_epochs():
    assert rate(7999) == pytest.approx(0.02)
    assert rate(8000) == pytest.approx(0.002)
    assert rate(10999) == pytest.approx(0.002)
    assert rate(11000) == pytest.approx(0.0002)


def test_a_fall_within_the_warm_up_counts_too():
    assert rate(250, steps_per_epoch=10) == pytest.approx(0.0002 * (0.001 + 0.999 * 0.5))


def test_the_rate_is_scaled_to_the_pictures_of_a_step():
    assert base_rate(TRAIN, 2) == pytest.approx(0.0025)
    assert base_rate(TrainConfig(base_batch_size=0), 2) == pytest.approx(0.02)


def test_cosine_ends_at_nothing():
    train = TrainConfig(schedule="cosine", epochs=10, warmup_iterations=0)
    assert rate(0, 100, train=train) == pytest.approx(0.02)
    assert rate(500, 100, train=train) == pytest.approx(0.01)
    assert rate(1000, 100, train=train) == pytest.approx(0.0, abs=1e-12)
