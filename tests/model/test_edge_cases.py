"""Inputs at the edge: none, one, a thousand; tiny and huge pictures; broken numbers."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from small_models import batch_of, picture, predict, tiny_model, train_step

SIZES = [(64, 96), (50, 70)]


def test_a_picture_without_instances_beside_one_with():
    losses = train_step(tiny_model(), SIZES, [picture(64, 96, 3), picture(50, 70, 0, seed=1)])
    assert losses["loss_mask_stage0"] > 0 and losses["loss_bbox_reg_stage0"] > 0


def test_no_picture_of_the_batch_has_instances():
    model = tiny_model()
    losses = train_step(model, SIZES, [picture(*size, 0, seed=n) for n, size in enumerate(SIZES)])
    for t in range(3):
        assert losses[f"loss_mask_stage{t}"] == 0 and losses[f"loss_bbox_reg_stage{t}"] == 0
        assert losses[f"loss_bbox_cls_stage{t}"] > 0
    assert losses["loss_rpn_reg"] == 0 and losses["loss_rpn_cls"] > 0


def test_no_foreground_sampled():
    """With no place for positives, every sampled RoI is background."""
    model = tiny_model(
        cascade={"positive_fraction": 0.0}, rpn={"positive_fraction": 0.0, "sample_size": 16}
    )
    losses = train_step(model, SIZES, [picture(*size, 2) for size in SIZES])
    assert losses["loss_mask_stage0"] == 0 and losses["loss_bbox_reg_stage2"] == 0


def test_no_rois_at_all(monkeypatch):
    """Neither a proposal nor an instance: the heads run on the spare row, for gradients of 0."""
    model = tiny_model()
    original = model.rpn.proposals

    def none(*args):
        rois = original(*args)
        return type(rois)(rois.boxes[-1:], paddle.to_tensor([0, 1], dtype="int32"))

    monkeypatch.setattr(model.rpn, "proposals", none)
    losses = train_step(model, SIZES, [picture(*size, 0) for size in SIZES])
    assert losses["loss_bbox_cls_stage0"] == 0
    assert predict(model, SIZES).boxes_num.tolist() == [0, 0]


def test_no_detections():
    detections = predict(tiny_model(test={"score_threshold": 1.0}), SIZES)
    assert detections.boxes.shape == [0, 4] and detections.mask_probs.shape == [0, 28, 28]
    assert detections.boxes_num.tolist() == [0, 0]


def test_detections_in_one_picture_alone(monkeypatch):
    """The other picture's RoIs are all background: its share of the batch is empty."""
    model = tiny_model()
    head = model.box_heads[2]
    original = head.forward

    def background_in_the_first(roi_features):
        class_logits, deltas = original(roi_features)
        rows = paddle.arange(class_logits.shape[0]) < 40
        background = paddle.to_tensor([-60.0, -60.0, -60.0, 60.0])
        return paddle.where(rows.unsqueeze(1), background, class_logits * 0), deltas

    monkeypatch.setattr(head, "forward", background_in_the_first)
    model.rpn.config.test_post_nms = 40
    detections = predict(model, [(96, 96), (96, 96)])
    first, second = detections.boxes_num.tolist()
    assert first == 0 and second > 0


def test_a_thousand_instances():
    losses = train_step(tiny_model(), [(128, 128)], [picture(128, 128, 1000)])
    assert losses["loss_mask_stage2"] > 0


def test_instances_without_area_and_beyond_the_picture():
    boxes = [[10, 10, 10, 40], [20, 20, 20, 20], [-30, -30, 20, 20], [60, 40, 200, 200]]
    truth = picture(64, 96, 4, boxes=paddle.to_tensor(boxes, dtype="float32"))
    train_step(tiny_model(), [(64, 96)], [truth])


def test_crowd_regions_are_no_background():
    """With ignore_iof, anchors and RoIs inside a crowd region are not sampled at all."""
    crowd = paddle.to_tensor([[0.0, 0.0, 96.0, 64.0]])
    truth = picture(64, 96, 0, crowd_boxes=crowd)
    plain = train_step(tiny_model(), [(64, 96)], [truth])
    assert plain["loss_rpn_cls"] > 0 and plain["loss_bbox_cls_stage0"] > 0
    model = tiny_model(rpn={"ignore_iof": 0.5}, cascade={"ignore_iof": 0.5})
    ignored = train_step(model, [(64, 96)], [truth])
    assert ignored["loss_rpn_cls"] == 0 and ignored["loss_bbox_cls_stage0"] == 0


@pytest.mark.parametrize("size", [(40, 40), (8, 12)])
def test_a_tiny_picture(size):
    model = tiny_model()
    train_step(model, [size], [picture(*size, 1)])
    predict(model, [size])


def test_a_huge_picture():
    """4000 x 6000 pixels: more than a million anchors."""
    one = {"channels": 1}
    model = tiny_model(backbone={"width": 1}, fpn=one, semantic=one, mask_head=one)
    predict(model, [(4000, 6000)])
    train_step(model, [(4000, 6000)], [picture(4000, 6000, 2)])


@pytest.mark.parametrize(("num_classes", "num_semantic_classes"), [(1, 1), (2, 300), (1203, 5)])
def test_any_number_of_classes(num_classes, num_semantic_classes):
    model = tiny_model(num_classes, num_semantic_classes, test={"score_threshold": 0.0})
    classes = {"num_classes": num_classes, "num_semantic_classes": num_semantic_classes}
    train_step(model, SIZES, [picture(*size, 2, **classes) for size in SIZES])
    detections = predict(model, SIZES)
    assert detections.labels.numpy().min() >= 0
    assert detections.labels.numpy().max() < num_classes


@pytest.mark.parametrize("batch", [1, 3])
def test_the_padding_of_a_picture_has_no_anchors(batch):
    """Sampled anchors lie inside each picture's own size, not that of the first or the batch."""
    model = tiny_model()
    sizes = [(128, 128), (64, 128), (128, 64)][:batch]
    images, _ = batch_of(sizes)
    levels = model.rpn(model.fpn(model.backbone(images)))
    anchors = paddle.concat([level.anchors for level in levels])
    for size in sizes:
        positive, negative, _ = model.rpn.sample_anchors(anchors, size, picture(*size, 2))
        sampled = anchors.numpy()[np.concatenate([positive.numpy(), negative.numpy()])]
        assert len(sampled) and (sampled >= 0).all()
        assert (sampled[:, 2] < size[1]).all() and (sampled[:, 3] < size[0]).all()


def test_a_loss_that_is_not_finite_names_the_term_and_the_pictures():
    model = tiny_model()
    truth = [picture(*size, 2, seed=n) for n, size in enumerate(SIZES)]
    model.mask_heads[1].logits.bias.set_value(paddle.full([3], float("nan")))
    with pytest.raises(FloatingPointError) as error:
        train_step(model, SIZES, truth)
    message = str(error.value)
    assert "loss_mask_stage1 = nan" in message and "loss_mask_stage0" not in message
    assert "picture 0" in message and "picture 1" in message


def test_weights_that_are_not_numbers_give_no_detections():
    """A broken network answers with nothing, it does not crash."""
    model = tiny_model()
    model.rpn.objectness.bias.set_value(paddle.full([3], float("nan")))
    model.eval()
    with paddle.no_grad():
        detections = model(*batch_of(SIZES))
    assert detections.boxes_num.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"semantic": None}, "has no semantic map"),
        ({"masks": None}, r"masks: expected \[2, 64, 96\], got None"),
        ({"masks": paddle.zeros([2, 9, 9])}, r"masks: expected \[2, 64, 96\], got \[2, 9, 9\]"),
        ({"semantic": paddle.zeros([128, 96])}, r"map: expected \[64, 96\], got \[128, 96\]"),
        ({"labels": paddle.zeros([3], dtype="int64")}, "expected 2 labels, got 3"),
        ({"labels": paddle.full([2], 3, dtype="int64")}, r"labels: expected 0 to 2 .*got \[3, 3\]"),
        ({"semantic": paddle.full([64, 96], 5, dtype="uint8")}, r"labels below 5 .*got \[5\]"),
        ({"boxes": paddle.zeros([2, 5])}, r"boxes: expected \[G, 4\], got \[2, 5\]"),
    ],
)
def test_ground_truth_that_does_not_fit(changes, message):
    with pytest.raises(ValueError, match=message) as error:
        train_step(tiny_model(), [(64, 96)], [picture(64, 96, 2, **changes)])
    assert "picture 0" in str(error.value)


def test_pictures_that_are_not_padded():
    with pytest.raises(ValueError, match=r"multiples of 32, got \[1, 3, 64, 90\]"):
        tiny_model()(paddle.zeros([1, 3, 64, 90]), paddle.zeros([1, 2]))
    with pytest.raises(ValueError, match=r"image_sizes: expected \[1, 2\].*got \[2, 2\]"):
        tiny_model()(paddle.zeros([1, 3, 64, 96]), paddle.zeros([2, 2]))


def test_ground_truth_of_another_batch():
    with pytest.raises(ValueError, match="one for each of 2 pictures, got 1"):
        train_step(tiny_model(), SIZES, [picture(64, 96, 2)])


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_autocast_leaves_boxes_losses_and_probabilities_in_float32(dtype):
    """Under autocast; on a CPU only bfloat16 has kernels, and not for everything."""
    if dtype == "float16" and not paddle.is_compiled_with_cuda():
        pytest.skip("float16 convolutions need a GPU")
    model = tiny_model()
    with paddle.amp.auto_cast(dtype=dtype):
        losses = train_step(model, SIZES, [picture(*size, 2) for size in SIZES])
        detections = predict(model, SIZES)
    assert losses["loss"] > 0
    for value in (detections.boxes, detections.scores, detections.mask_probs):
        assert value.dtype == paddle.float32


def test_frozen_stages_stay_and_batch_norm_keeps_its_statistics():
    model = tiny_model()
    model.train()
    before = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    optimizer = paddle.optimizer.SGD(0.1, parameters=model.parameters())
    model(*batch_of(SIZES), [picture(*size, 2) for size in SIZES])["loss"].backward()
    optimizer.step()
    after = {name: value.numpy() for name, value in model.state_dict().items()}
    changed = {name for name in before if (before[name] != after[name]).any()}
    assert not [name for name in changed if name.endswith(("_mean", "_variance"))]
    assert not [name for name in changed if name.startswith(("backbone.conv1", "backbone.bn1"))]
    assert not [name for name in changed if name.startswith("backbone.layer1")]
    assert {"backbone.layer2.0.downsample.0.weight", "backbone.layer2.0.bn2.weight"} <= changed
