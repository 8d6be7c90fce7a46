"""Order, processes, resuming: the same batches for the same seed, whatever makes them."""

import os
import pickle
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from htc.data import CocoDataset, DatasetError, test_loader, train_loader
from htc.data.loader import Loader
from htc.data.order import test_order, training_order
from htc.data.shared_file import SharedFile

SIZES = np.array([(40, 60), (60, 40), (50, 50)] * 7 + [(30, 90)] * 2)  # 9 wide, 14 not


def digest(batches):
    return [pickle.dumps((b.images, b.image_sizes, b.picture_ids, b.targets)) for b in batches]


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_workers_change_nothing(folder, workers):
    config = folder.config("data.batch_size=1", "data.train_short_sides=[40,64]")
    data = CocoDataset.from_config(config, "train")
    with train_loader(config, data, semantic="maps") as alone:
        expected = [digest(alone.epoch(epoch)) for epoch in range(3)]
    config.data.workers = workers
    with train_loader(config, data, semantic="maps") as loader:
        assert len(loader) == 3
        assert [digest(loader.epoch(epoch)) for epoch in range(3)] == expected
        assert digest(loader.epoch(1, start=2)) == expected[1][2:]  # goes on mid-epoch
        assert digest(loader.epoch(1, start=3)) == []
        with pytest.raises(ValueError, match=r"start: expected 0\.\.3, got 4"):
            loader.epoch(1, start=4)
    assert expected[0] != expected[1]


def test_the_seed_decides(folder):
    config = folder.config("data.train_short_sides=[40,64]")
    data = CocoDataset.from_config(config, "train")
    first = digest(train_loader(config, data, semantic="maps").epoch(0))
    assert digest(train_loader(config, data, semantic="maps").epoch(0)) == first
    config.runtime.seed = 1
    assert digest(train_loader(config, data, semantic="maps").epoch(0)) != first


def test_an_epoch_left_early_does_not_disturb_the_next(folder):
    config = folder.config("data.batch_size=1", "data.workers=2")
    data = CocoDataset.from_config(config, "train")
    with train_loader(config, data) as loader:
        whole = digest(loader.epoch(0))
        for _ in range(3):
            batches = loader.epoch(0)
            next(batches)
            with pytest.raises(RuntimeError, match="an epoch of this loader is being read"):
                next(loader.epoch(1))
            batches.close()
        assert digest(loader.epoch(0)) == whole


@pytest.mark.parametrize("workers", [0, 2])
def test_a_bad_picture_is_named_and_the_loader_lives_on(folder, workers):
    config = folder.config("data.batch_size=1", f"data.workers={workers}")
    data = CocoDataset.from_config(config, "train")
    good = (folder.images / "11.png").read_bytes()
    (folder.images / "11.png").write_bytes(good[:100])
    with train_loader(config, data) as loader:
        for _ in range(2):
            with pytest.raises(DatasetError, match=r"^picture 11: cannot read .*11\.png"):
                list(loader.epoch(0))
        (folder.images / "11.png").write_bytes(good)
        assert len(list(loader.epoch(0))) == 3


def test_a_fault_of_our_own_keeps_its_traceback(folder, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    config = folder.config("data.workers=1")
    data = CocoDataset.from_config(config, "train")
    data.paths = None  # not a data set any more
    with (
        train_loader(config, data) as loader,
        pytest.raises(RuntimeError, match=r"(?s)loading process 0 failed:.*Traceback.*__getitem__"),
    ):
        list(loader.epoch(0))


def test_a_process_that_dies_is_reported_and_replaced(folder):
    config = folder.config("data.batch_size=1", "data.workers=1")
    data = CocoDataset.from_config(config, "train")
    with train_loader(config, data) as loader:
        batches = loader.epoch(0)
        next(batches)
        process = loader._pool.workers[0].process
        process.send_signal(signal.SIGKILL)
        process.wait()
        with pytest.raises(
            RuntimeError, match=r"loading process 0 was killed by signal 9 .*memory"
        ):
            list(batches)
        assert len(list(loader.epoch(0))) == 3


def test_processes_end_with_the_loader(folder):
    config = folder.config("data.workers=2")
    loader = train_loader(config, CocoDataset.from_config(config, "train"))
    list(loader.epoch(0))
    processes = [worker.process for worker in loader._pool.workers]
    assert [process.poll() for process in processes] == [None, None]
    del loader  # not closed: goes with its last user
    assert [process.poll() for process in processes] == [0, 0]


def test_processes_end_when_training_is_killed(folder, tmp_path):
    folder.config()
    script = tmp_path / "train.py"
    script.write_text(
        "import sys, time\n"
        f"sys.path[:] = {sys.path!r}\n"
        "from coco_folder import CocoFolder\n"
        "from htc.data import CocoDataset, train_loader\n"
        "folder = object.__new__(CocoFolder)\n"
        f"from pathlib import Path; folder.root = Path({str(folder.root)!r})\n"
        "import json; folder.content = json.loads(folder.json.read_text())\n"
        "config = folder.config('data.workers=2')\n"
        "loader = train_loader(config, CocoDataset.from_config(config, 'train'))\n"
        "next(loader.epoch(0))\n"
        "print(*(w.process.pid for w in loader._pool.workers), flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as process:
        pids = [int(pid) for pid in process.stdout.readline().split()]
        assert len(pids) == 2
        process.kill()
    deadline = time.monotonic() + 30
    while any(_runs(pid) for pid in pids):
        assert time.monotonic() < deadline, "loading processes outlive the one that was killed"
        time.sleep(0.05)


def _runs(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_workers_do_not_import_paddle(folder):
    code = "import sys, htc.data.worker; sys.exit('paddle' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment).returncode == 0


def test_number_of_workers_is_checked():
    with pytest.raises(ValueError, match="workers: expected 0 or more, got -1"):
        Loader(None, None, -1)


@pytest.mark.parametrize("world", [1, 2, 3])
def test_evaluation_has_each_picture_once(folder, world):
    config = folder.config("data.test_batch_size=2", "data.workers=0")
    data = CocoDataset.from_config(config, "val")
    ids = [
        picture_id
        for rank in range(world)
        for batch in test_loader(config, data, rank, world).epoch()
        for picture_id in batch.picture_ids
    ]
    assert sorted(ids) == [10, 11, 12, 13]


def test_fewer_pictures_than_processes():
    assert test_order(1, 2, rank=1, world=2) == []


@pytest.mark.parametrize("by_aspect", [False, True])
@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("batch_size", [1, 2, 5, 40])
def test_an_epoch_has_every_picture(batch_size, world, by_aspect):
    for epoch in range(3):
        parts = [
            training_order(SIZES, batch_size, epoch, 7, rank, world, by_aspect=by_aspect)
            for rank in range(world)
        ]
        assert len({len(part) for part in parts}) == 1
        assert all(len(batch) == batch_size for part in parts for batch in part)
        flat = [index for part in parts for batch in part for index in batch]
        assert set(flat) == set(range(len(SIZES)))
        extra = len(flat) - len(SIZES)
        assert extra < batch_size * world or (by_aspect and extra < 2 * batch_size * world)


def test_batches_are_as_many_in_every_epoch():
    assert len({len(training_order(SIZES, 4, epoch, 0)) for epoch in range(20)}) == 1


def test_wide_pictures_go_with_wide_ones():
    wide = SIZES[:, 1] > SIZES[:, 0]
    batches = training_order(SIZES, 2, 0, 0, by_aspect=True)
    mixed = [batch for batch in batches if wide[batch].any() != wide[batch].all()]
    assert len(mixed) <= 1
    assert any(wide[batch].all() for batch in batches)


@pytest.mark.parametrize("by_aspect", [False, True])
def test_accumulating_sees_the_pictures_of_several_processes(by_aspect):
    ranks = [training_order(SIZES, 2, 3, 1, rank, 3, by_aspect=by_aspect) for rank in range(3)]
    alone = training_order(SIZES, 2, 3, 1, accumulate=3, by_aspect=by_aspect)
    assert alone == [batch for step in zip(*ranks, strict=True) for batch in step]


def test_rank_is_checked():
    with pytest.raises(ValueError, match=r"rank: expected 0\.\.world - 1 .* got 2 of 2"):
        training_order(SIZES, 1, 0, 0, rank=2, world=2)


class TestSharedFile:
    def test_objects_pass_through(self):
        writer = SharedFile()
        reader = SharedFile(os.dup(writer.descriptor))
        for size in (3, 1000, 10, 0, 100_000):  # grows, and is used again
            value = {"a": np.arange(size), "b": [np.ones((2, size), np.float32), "text", None]}
            got = reader.read(writer.write(value))
            assert (got["a"] == value["a"]).all() and (got["b"][0] == 1).all()
            assert got["b"][1:] == ["text", None]
            got["a"][:] = 5  # its own
        writer.close()
        reader.close()

    def test_without_a_copy_arrays_are_read_only(self):
        file = SharedFile()
        got = file.read(file.write(np.arange(5)), copy=False)
        with pytest.raises(ValueError, match="read-only"):
            got[0] = 1
