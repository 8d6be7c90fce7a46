"""What the network sees: sizes, flips, masks and maps that stay aligned, padding."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as rle_tools

from htc.data import CocoDataset, DatasetError, semantic_source, test_loader, train_loader
from htc.data.masks import crop_masks, nearest_index, resize_labels
from htc.data.transforms import collate, resize_boxes, resized_size


@pytest.mark.parametrize(
    ("size", "sides", "expected"),
    [
        # mmcv.imrescale's answers for COCO pictures at 1333 x 800.
        ((480, 640), (800, 1333), (800, 1067)),
        ((640, 480), (800, 1333), (1067, 800)),
        ((427, 640), (800, 1333), (800, 1199)),
        ((375, 500), (800, 1333), (800, 1067)),
        ((333, 500), (800, 1333), (800, 1201)),
        ((240, 640), (800, 1333), (500, 1333)),  # the long side decides
        ((1, 5000), (800, 1333), (1, 1333)),  # never less than a pixel
        ((480, 640), (1333, 800), (800, 1067)),  # the limits in either order
    ],
)
def test_resized_size(size, sides, expected):
    assert resized_size(*size, *sides) == expected


def test_resized_size_may_be_told_not_to_enlarge():
    assert resized_size(480, 640, 800, 1333, enlarge=False) == (480, 640)
    assert resized_size(4800, 6400, 800, 1333, enlarge=False) == (800, 1067)


def loader(folder, *overrides, semantic="maps"):
    config = folder.config(*overrides)
    data = CocoDataset.from_config(config, "train")
    return train_loader(config, data, semantic=semantic), data


def by_picture(loader, epoch=0):
    found = {}
    for batch in loader.epoch(epoch):
        for row, picture_id in enumerate(batch.picture_ids):
            found[picture_id] = batch, row, batch.targets[row]
    return found


def picture_of(batch, row, config):
    """The un-padded picture [H, W, 3], as values 0..255 again."""
    height, width = batch.image_sizes[row].astype(int)
    values = batch.images[row, :, :height, :width].transpose(1, 2, 0)
    return values * np.array(config.std, np.float32) + np.array(config.mean, np.float32)


def test_values_padding_and_sizes(folder):
    loads, _ = loader(folder, "data.flip=0")
    batch, row, target = by_picture(loads)[10]
    assert batch.images.shape == (3, 3, 64, 64) and batch.images.dtype == np.float32
    assert batch.image_sizes.tolist()[row] == [40, 60]
    assert batch.original_sizes.tolist()[row] == [40, 60]
    expected = np.asarray(Image.open(folder.images / "10.png"))
    np.testing.assert_allclose(picture_of(batch, row, loads.make.data), expected, atol=1e-3)
    assert (batch.images[row, :, 40:] == 0).all() and (batch.images[row, :, :, 60:] == 0).all()
    assert target.boxes.tolist() == [[10, 5, 40, 25]] and target.labels.tolist() == [1]
    assert (target.semantic == np.asarray(Image.open(folder.semantic / "10.png"))).all()
    assert target.crowd_boxes.shape == (0, 4)
    crowd = by_picture(loads)[12][2]
    assert crowd.crowd_boxes.tolist() == [[10, 5, 40, 25]] and len(crowd.masks) == 1


@pytest.mark.parametrize("picture", [10, 11, 12])
def test_a_flip_turns_everything(folder, picture):
    straight = by_picture(loader(folder, "data.flip=0")[0])[picture]
    flipped = by_picture(loader(folder, "data.flip=1")[0])[picture]
    mean_std = loader(folder)[0].make.data
    before = picture_of(*straight[:2], mean_std)
    np.testing.assert_array_equal(picture_of(*flipped[:2], mean_std), before[:, ::-1])
    old, new = straight[2], flipped[2]
    assert new.boxes.tolist() == [[60 - 40, 5, 60 - 10, 25]]
    assert (new.masks.bitmaps() == old.masks.bitmaps()[:, :, ::-1]).all()
    assert (new.semantic == old.semantic[:, ::-1]).all()
    assert (
        new.crowd_boxes.tolist() == resize_boxes(old.crowd_boxes, (40, 60), (40, 60), True).tolist()
    )


def test_resizing_keeps_everything_aligned(folder):
    # The picture and the map show the object of the mask: what was aligned stays so.
    size = (40, 60)
    mask = np.zeros(size, np.uint8)
    mask[5:25, 10:40] = 1
    Image.fromarray(np.repeat(mask[..., None] * 255, 3, 2)).save(folder.images / "10.png")
    Image.fromarray(mask * 4).save(folder.semantic / "10.png")
    for flip in (0, 1):
        loads, _ = loader(
            folder, "data.train_short_sides=[93]", "data.train_long_side=200", f"data.flip={flip}"
        )
        batch, row, target = by_picture(loads)[10]
        assert batch.image_sizes[row].tolist() == [93, 140]
        bright = picture_of(batch, row, loads.make.data)[:, :, 0] > 127.5
        bitmap = target.masks.bitmaps()[0] > 0
        # COCO's rasteriser and the bilinear filter may differ by the pixels of an outline.
        assert (bright != bitmap).sum() <= 2 * (30 + 20) * 2.33
        assert ((target.semantic == 4) != bright).sum() <= 2 * (30 + 20) * 2.33
        x1, y1, x2, y2 = target.boxes[0]
        ys, xs = np.nonzero(bitmap)
        edges = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
        assert np.abs(np.array([x1, y1, x2, y2]) - edges).max() <= 1.5


def test_boxes_are_clipped_to_the_picture():
    boxes = np.array([[-5, -5, 100, 20], [50, 30, 70, 50]], np.float32)
    assert resize_boxes(boxes, (40, 60), (80, 120), False).tolist() == [
        [0, 0, 120, 40],
        [100, 60, 120, 80],
    ]
    assert resize_boxes(boxes[:1], (40, 60), (80, 120), True).tolist() == [[0, 0, 120, 40]]


polygons = st.lists(
    st.lists(st.floats(-20, 80, width=32), min_size=6, max_size=14).filter(lambda p: len(p) % 2 == 0),
    min_size=1,
    max_size=3,
)  # fmt: skip


@given(polygons, st.integers(1, 130), st.integers(1, 130), st.booleans())
def test_cropped_polygons_are_those_of_the_whole_picture(values, height, width, flip):
    size = (40, 60)
    parts = [np.array(polygon, np.float32) for polygon in values]
    crops = crop_masks([parts], size, (height, width), flip)
    scale = np.array([width / 60, height / 40] * 7)
    scaled = [(part.astype(float) * scale[: part.size]).tolist() for part in parts]
    whole = rle_tools.decode(rle_tools.merge(rle_tools.frPyObjects(scaled, height, width)))
    bitmap = crops.bitmaps()[0]
    assert (bitmap == (whole[:, ::-1] if flip else whole)).all()
    assert crops.areas().tolist() == [int(whole.sum())]


@given(
    st.integers(0, 2**32 - 1),
    st.tuples(st.integers(1, 30), st.integers(1, 30)),
    st.tuples(st.integers(1, 70), st.integers(1, 70)),
    st.booleans(),
)
def test_cropped_rle_is_the_resized_mask(seed, size, resized, flip):
    mask = (np.random.default_rng(seed).random(size) < 0.3).astype(np.uint8)
    rle = rle_tools.encode(np.asfortranarray(mask))
    bitmap = crop_masks([rle], size, resized, flip).bitmaps()[0]
    whole = resize_labels(mask, *resized)
    assert (bitmap == (whole[:, ::-1] if flip else whole)).all()


def test_an_instance_of_many_polygons():
    # More than 255: lists of that length go wrong in parts of pycocotools.
    parts = [np.array([x, y, x + 2, y, x + 2, y + 2, x, y + 2], np.float32)
             for x in range(0, 60, 3) for y in range(0, 60, 3)]  # fmt: skip
    bitmap = crop_masks([parts], (60, 60), (60, 60), False).bitmaps()[0]
    assert bitmap.sum() == len(parts) * 4 == 1600


@given(st.integers(1, 500), st.integers(1, 500))
def test_nearest_index(length, resized):
    index = nearest_index(length, resized)
    centre = (np.arange(resized) + 0.5) * length / resized
    assert (np.abs(index + 0.5 - centre) <= 0.5 + 1e-9).all()
    assert (index >= 0).all() and (index < length).all() and (np.diff(index) >= 0).all()
    if length == resized:
        assert (index == np.arange(length)).all()


def test_short_sides_are_drawn(folder):
    loads, _ = loader(folder, "data.train_short_sides=[40,80]", "data.train_long_side=1000")
    seen = {int(s) for e in range(12) for b in loads.epoch(e) for s in b.image_sizes[:, 0]}
    assert seen == {40, 80}
    loads, _ = loader(
        folder,
        "data.train_short_sides=[40,44]",
        "data.short_side_mode=range",
        "data.train_long_side=1000",
    )
    seen = {int(s) for e in range(30) for b in loads.epoch(e) for s in b.image_sizes[:, 0]}
    assert seen == {40, 41, 42, 43, 44}


def test_half_are_flipped(folder):
    loads, _ = loader(folder)
    boxes = [by_picture(loads, epoch)[10][2].boxes[0, 0] for epoch in range(60)]
    assert set(boxes) == {10, 20} and 15 <= boxes.count(20) <= 45


def test_maps_made_of_instances(folder):
    config = folder.config(
        "data.train.semantic=null", "data.semantic_from_instances=true", "data.flip=0"
    )
    data = CocoDataset.from_config(config, "train")
    source, notice = semantic_source(config, data)
    assert source == "instances" and "made from the instance masks (4 classes)" in notice
    target = by_picture(train_loader(config, data, semantic=source))[12][2]
    mask = target.masks.bitmaps()[0] > 0
    # The crowd has the same pixels as the one instance, which is on top.
    assert (target.semantic[mask] == 2).all() and (target.semantic[~mask] == 3).all()
    folder.annotation(3).update(segmentation=[[0, 0, 5, 0, 5, 5, 0, 5]], bbox=[0, 0, 5, 5])
    config = folder.config(
        "data.train.semantic=null", "data.semantic_from_instances=true", "data.flip=0"
    )
    data = CocoDataset.from_config(config, "train")
    semantic = by_picture(train_loader(config, data, semantic=source))[12][2].semantic
    assert semantic[2, 2] == 2 and semantic[20, 20] == 255 and semantic[39, 59] == 3


def test_maps_made_of_instances_need_room(folder):
    config = folder.config(
        "data.train.semantic=null", "data.semantic_from_instances=true", "num_semantic_classes=3"
    )
    data = CocoDataset.from_config(config, "train")
    with pytest.raises(
        DatasetError, match=r"have 4 classes .*has 3; set -o num_semantic_classes=4"
    ):
        semantic_source(config, data)


def test_without_maps_the_branch_is_off(folder):
    config = folder.config("data.train.semantic=null")
    data = CocoDataset.from_config(config, "train")
    source, notice = semantic_source(config, data)
    assert source is None
    assert "data.train.semantic is not set" in notice and "switched off" in notice
    assert next(train_loader(config, data).epoch()).targets[0].semantic is None
    config = folder.config("model.semantic.enabled=false")
    assert semantic_source(config, data) == (None, None)


def test_picture_of_another_size(folder):
    Image.new("RGB", (50, 40)).save(folder.images / "10.png")
    with pytest.raises(
        DatasetError,
        match=r"picture 10: .*10\.png: the annotations say 60 x 40 .*, the file has 50 x 40$",
    ):
        by_picture(loader(folder)[0])


def test_a_size_that_exif_explains(folder):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (60, 40)).save(folder.images / "10.png", exif=exif)
    with pytest.raises(
        DatasetError, match=r"the file has 40 x 60; its EXIF orientation \(6\) turns"
    ):
        by_picture(loader(folder)[0])


def test_a_missing_or_wrong_map_is_named(folder):
    (folder.semantic / "11.png").unlink()
    with pytest.raises(
        DatasetError, match=r"semantic map of picture 11: no such file: .*stuff.11\.png"
    ):
        by_picture(loader(folder)[0])
    Image.new("L", (40, 60)).save(folder.semantic / "11.png")
    with pytest.raises(DatasetError, match=r"semantic map of picture 11: .*60 x 40 .*40 x 60"):
        by_picture(loader(folder)[0])


def test_boxes_go_back_to_the_original_picture(folder):
    config = folder.config("data.test_short_side=93", "data.test_long_side=200")
    data = CocoDataset.from_config(config, "val")
    batch = next(test_loader(config, data).epoch())
    height, width = batch.image_sizes[0]
    assert (height, width) == (93, 140) and batch.targets is None
    boxes = np.array([[0, 0, width, height], [width / 2, 0, width, height / 4]], np.float32)
    expected = [[0, 0, 60, 40], [30, 0, 60, 10]]
    np.testing.assert_allclose(batch.original_boxes(0, boxes), expected, rtol=1e-6)


def test_collate_pads_to_the_largest(folder):
    data = folder.config().data
    pictures = [np.zeros((40, 65, 3), np.uint8), np.zeros((70, 20, 3), np.uint8)]
    images, sizes = collate(pictures, data)
    assert images.shape == (2, 3, 96, 96) and sizes.tolist() == [[40, 65], [70, 20]]
