"""Checkpoints that are whole, or are known not to be."""

import json

import numpy as np
import pytest

from htc.engine import checkpoints
from htc.engine.checkpoints import Checkpoint, CheckpointError, Position


def checkpoint(epoch, batch=0, value=1.0):
    arrays = {"a.weight": np.full(3, value, "float32")}
    return Checkpoint(Position(epoch, batch, step=10 * epoch + batch), arrays, arrays, {})


def save(run, *positions, keep=9):
    for epoch, batch in positions:
        checkpoints.save(run, checkpoint(epoch, batch, epoch), {}, keep)


def names(run):
    return [path.name for path in checkpoints.list_checkpoints(run)]


def test_a_checkpoint_comes_back_as_it_was(tmp_path):
    ours = checkpoint(2, 5)
    ours.position.scaler = {"scale": [0.1]}
    ours.ema = {"a.weight": np.arange(3, dtype="float32")}
    path = checkpoints.save(tmp_path, ours, {"note": "x"}, keep=1)
    assert path.name == "2-5"
    theirs = checkpoints.load(path)
    assert theirs.position == ours.position
    for part in ("weights", "optimizer", "ema"):
        expected, found = getattr(ours, part), getattr(theirs, part)
        assert list(found) == list(expected)
        np.testing.assert_array_equal(found["a.weight"], expected["a.weight"])


def test_the_newest_are_kept_by_when_they_were_written(tmp_path):
    save(tmp_path, (1, 0), (1, 20), (1, 100), (2, 0), (10, 0), keep=3)
    assert names(tmp_path) == ["10", "2", "1-100"]


def test_a_run_that_went_back_goes_on_from_what_it_wrote_last(tmp_path):
    save(tmp_path, (1, 0), (2, 0), (3, 0), (1, 5), keep=3)
    assert names(tmp_path) == ["1-5", "3", "2"]
    assert checkpoints.find(tmp_path, print).position.name == "1-5"


def test_writing_one_again_replaces_it(tmp_path):
    save(tmp_path, (1, 0))
    checkpoints.save(tmp_path, checkpoint(1, value=7), {}, 3)
    assert checkpoints.load(tmp_path / "1").weights["a.weight"][0] == 7
    assert [path.name for path in tmp_path.iterdir()] == ["1"]


@pytest.mark.parametrize("file", [checkpoints.WEIGHTS, checkpoints.TRAINING, checkpoints.STATE])
def test_a_truncated_one_is_passed_over_with_a_notice(tmp_path, file):
    save(tmp_path, (1, 0), (2, 0))
    path = tmp_path / "2" / file
    path.write_bytes(path.read_bytes()[:-20])
    notices = []
    assert checkpoints.find(tmp_path, notices.append).position.epoch == 1
    assert len(notices) == 1 and "damaged checkpoint" in notices[0] and "2" in notices[0]


def test_a_changed_byte_is_found(tmp_path):
    save(tmp_path, (1, 0))
    path = tmp_path / "1" / checkpoints.WEIGHTS
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="truncated or changed"):
        checkpoints.load(tmp_path / "1")


def test_a_checkpoint_by_its_path_may_be_older_than_the_newest(tmp_path):
    save(tmp_path, (1, 0), (2, 0), (3, 0))
    assert checkpoints.find(tmp_path / "2", print).position.epoch == 2


def test_what_cannot_be_resumed_says_why(tmp_path):
    with pytest.raises(CheckpointError, match="neither a run folder nor a checkpoint"):
        checkpoints.find(tmp_path / "nowhere", print)
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        checkpoints.find(tmp_path, print)
    save(tmp_path, (1, 0))
    state = tmp_path / "1" / checkpoints.STATE
    state.write_text(json.dumps({"format": "other"}))
    with pytest.raises(CheckpointError, match=r"no checkpoint that is whole: .*expected 'htc"):
        checkpoints.find(tmp_path, lambda line: None)


def test_what_a_crash_left_behind_is_no_checkpoint(tmp_path):
    save(tmp_path, (1, 0))
    (tmp_path / ".2.123.partial").mkdir()
    assert names(tmp_path) == ["1"]
