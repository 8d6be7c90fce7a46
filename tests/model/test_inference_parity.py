"""Inference, tensor by tensor, against the stored cases of the reference implementation."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from reference_cases import Comparison, Recorder, build, needs_reference, reference_module

import htc.model.cascade as cascade_module
import htc.model.rpn as rpn_module
import htc_ops
from htc.model.postprocess import to_original

pytestmark = needs_reference

CASES = {
    "full": "tiny_full_infer.npz",
    "full, padded": "tiny_full_infer_pad.npz",
    "no semantic branch": "tiny_nosem_infer.npz",
    "no mask flow": "tiny_noflow_infer.npz",
    "semantic in boxes alone": "tiny_fusebbox_infer.npz",
    "semantic in masks alone": "tiny_fusemask_infer.npz",
    "cascade mask r-cnn": "tiny_cascade_infer.npz",
}


def sigmoid(x):
    return 1 / (1 + np.exp(-x.astype("float64")))


@pytest.mark.parametrize("case", CASES)
def test_every_stored_tensor(case, monkeypatch, agreement):
    tensors, meta = reference_module().load(CASES[case])
    model = build(meta)
    model.eval()
    recorder = Recorder(monkeypatch)
    for part in ("backbone", "fpn"):
        recorder.watch(getattr(model, part), "forward", part)
    if model.semantic_head:
        recorder.watch(model.semantic_head, "forward", "semantic")
    recorder.watch(model.rpn, "forward", "rpn")
    recorder.watch(model.rpn.objectness, "forward", "objectness")
    recorder.watch(model.rpn.deltas, "forward", "rpn_deltas")
    recorder.watch(rpn_module, "nms_per_picture")
    recorder.watch(model.rpn, "proposals")
    recorder.watch(model, "decode")
    recorder.watch(cascade_module, "select_detections")
    recorder.watch(model, "mask_features")
    for t in range(3):
        recorder.watch(model.box_heads[t], "forward", f"box_head{t}")
        recorder.watch(model.mask_heads[t], "features", f"mask_head_features{t}")
        recorder.watch(model.mask_heads[t], "forward", f"mask_head{t}")

    height, width = meta["img_shape"]
    images = paddle.to_tensor(tensors["input"])
    image_sizes = paddle.to_tensor([[height, width]], dtype="float32")
    probs = {}
    with paddle.no_grad():
        model.config.test.mask_ensemble = "last"
        probs["last"] = model(images, image_sizes).mask_probs.numpy()
        for calls in recorder.calls.values():
            calls.clear()
        model.config.test.mask_ensemble = "mean"
        detections = model(images, image_sizes)
        probs["mean"] = detections.mask_probs.numpy()

    check = Comparison(tensors, meta)
    for level, ours in enumerate(recorder.results("backbone")[0]):
        check.close(f"c{level}", ours)
    for level, ours in enumerate(recorder.results("fpn")[0]):
        check.close(f"p{level}", ours)
        check.close(f"rpn_cls{level}", recorder.results("objectness")[level])
        check.close(f"rpn_reg{level}", recorder.results("rpn_deltas")[level])
    anchors = [level.anchors for level in recorder.results("rpn")[0]]
    check.equal("anchors", np.concatenate(anchors))
    if model.semantic_head:
        check.close("sem_pred", recorder.results("semantic")[0].logits)
        check.close("sem_feat", recorder.results("semantic")[0].embedding)

    arguments, ranked = recorder.calls["nms_per_picture"][0]
    candidates_agree(tensors, *arguments[:3])
    check.close("proposals", ranked.boxes[:-1])
    check.close("proposal_scores", sigmoid(ranked.scores[:-1]))

    for t in range(3):
        (roi_features,), (class_logits, deltas) = recorder.calls[f"box_head{t}"][0]
        check.close(f"bbox_feats_s{t}", roi_features[:-1])
        check.close(f"cls_score_s{t}", class_logits[:-1])
        check.close(f"bbox_pred_s{t}", deltas[:-1])
        check.close(f"rois_s{t}", with_picture(recorder.arguments("decode", 1)[t].boxes[:-1]))
        check.close(f"mask_logits_s{t}", recorder.results(f"mask_head{t}")[0][:-1])
    boxes, class_probs = recorder.calls["select_detections"][0][0][:2]
    check.close("final_boxes", boxes[:-1])
    check.close("final_scores", class_probs[:-1])
    logits = [recorder.results(f"box_head{t}")[0][0][:-1] for t in range(3)]
    check.close("cls_score_mean", sum(logits) / 3)

    check.close("det_boxes", detections.boxes.numpy())
    check.close("det_scores", detections.scores.numpy())
    check.equal("det_labels", detections.labels.numpy())
    assert detections.boxes_num.tolist() == [len(tensors["det_labels"])]
    check.close("mask_rois", with_picture(detections.boxes.numpy()))
    check.close("mask_feats", recorder.results("mask_features")[0][:-1])
    first = recorder.results("mask_head_features0")[0]
    check.close("mask_resfeat_s0_first8", first[:8])

    scale = meta["scale_factor"]
    (original,) = to_original(detections, [scale])
    check.close("out_boxes", original.boxes.numpy())
    check.close("out_scores", original.scores.numpy())
    check.equal("out_labels", original.labels.numpy())
    for ensemble in ("last", "mean"):
        check.close(f"mask_prob_{ensemble}", probs[ensemble])
        stored = [tensors[f"mask_prob_{ensemble}"], tensors["out_boxes"]]
        masks_agree(tensors, meta, ensemble, *stored, within=1e-4)
        # Our boxes differ from the stored ones by rounding, up to 0.0015 pixels; where a
        # probability changes by 0.2 a pixel, as it does in small boxes, that moves it by 3e-4.
        ours = [probs[ensemble], original.boxes.numpy()]
        masks_agree(tensors, meta, ensemble, *ours, within=3e-4)

    left = set(tensors) - set(check.compared) - NOT_COMPARED
    assert not {key for key in left if not key.startswith(("rpn_cand", "masks_"))}
    agreement(case, "worst intermediate", f"{check.worst:.1e} ({check.worst_key})")
    agreement(case, "detections equal", "yes")


# What the model does not compute itself: the picture, and the anchors of one cell (in "anchors").
NOT_COMPARED = {"img_bgr_uint8", "input", "base_anchors"}


def with_picture(boxes):
    """Boxes of picture 0 as the reference's RoIs [picture, x1, y1, x2, y2]."""
    return np.pad(boxes, ((0, 0), (1, 0)))


def candidates_agree(tensors, boxes, logits, levels):
    """The same candidates before NMS: each stored one is ours, each of ours is stored."""
    if "rpn_cand_boxes" not in tensors:
        return
    stored = tensors["rpn_cand_boxes"]
    assert len(boxes) == len(stored)
    near = np.abs(boxes[:, None] - stored[None]).max(axis=2) < 1e-4 * np.abs(stored).max()
    scores = np.abs(sigmoid(logits)[:, None] - tensors["rpn_cand_scores"][None]) < 1e-4
    # Boxes without area are stored with their scores; ours are marked as dropped by then.
    has_area = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    near &= scores | ~has_area[:, None]
    near &= levels[:, None] == tensors["rpn_cand_level"][None]
    assert near.any(axis=0).all() and near.any(axis=1).all()


def masks_agree(tensors, meta, ensemble, probs, boxes, within):
    """Pasted masks are the stored ones but where the stored probability is that near to 0.5."""
    stored, size = tensors[f"masks_{ensemble}"], tuple(meta["ori_shape"])
    probs, boxes = paddle.to_tensor(probs), paddle.to_tensor(boxes)
    ours = htc_ops.paste_masks(probs, boxes, size, 0.5).numpy().astype(bool)
    assert ours.shape == stored.shape
    for index in np.flatnonzero((ours != stored).any(axis=(1, 2))):
        prob, box = tensors[f"mask_prob_{ensemble}"][index], tensors["out_boxes"][index]
        pasted = paste(prob.astype("float64"), box.astype("float64"), size)
        assert np.abs(pasted[ours[index] != stored[index]] - 0.5).max() < within


def paste(probs, box, size):
    """Bilinear at pixel centres, 0 outside: the probability of each pixel of the picture."""
    height, width = size
    rows = (np.arange(height) + 0.5 - box[1]) / (box[3] - box[1]) * probs.shape[0] - 0.5
    columns = (np.arange(width) + 0.5 - box[0]) / (box[2] - box[0]) * probs.shape[1] - 0.5
    padded = np.pad(probs, 1)
    return interpolation(rows, probs.shape[0]) @ padded @ interpolation(columns, probs.shape[1]).T


def interpolation(positions, count):
    """Weights [len(positions), count + 2] of linear interpolation among count samples, 0 around."""
    weights = np.zeros((len(positions), count + 2))
    for row, position in enumerate(positions):
        if -1 < position < count:
            below = int(np.floor(position))
            weights[row, below + 1] = 1 - (position - below)
            weights[row, below + 2] = position - below
    return weights


def test_a_padded_batch_gives_what_each_picture_gives_alone():
    """Two pictures of different size in one batch: same detections as one by one."""
    stored = [reference_module().load(CASES[case]) for case in ("full", "full, padded")]
    model = build(stored[0][1])
    model.eval()
    images = np.concatenate([tensors["input"] for tensors, _ in stored])
    sizes = paddle.to_tensor([meta["img_shape"] for _, meta in stored], dtype="float32")
    with paddle.no_grad():
        detections = model(paddle.to_tensor(images), sizes)
    counts = detections.boxes_num.tolist()
    assert counts == [len(tensors["det_labels"]) for tensors, _ in stored]
    for key, ours in (
        ("det_boxes", detections.boxes),
        ("det_scores", detections.scores),
        ("det_labels", detections.labels),
        ("mask_prob_mean", detections.mask_probs),
    ):
        expected = np.concatenate([tensors[key] for tensors, _ in stored])
        np.testing.assert_allclose(ours.numpy(), expected, atol=1e-4 * np.abs(expected).max())
