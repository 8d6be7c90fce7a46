"""A training step, tensor by tensor, against the stored cases of the reference implementation."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from reference_cases import (
    Comparison,
    Recorder,
    build,
    ground_truth_of,
    needs_reference,
    our_array,
    our_name,
    reference_module,
)

import htc.model.cascade as cascade_module
import htc.model.resizing as resizing_module
import htc.model.rpn as rpn_module
import htc.model.semantic_head as semantic_module
import htc.model.targets as targets_module

pytestmark = needs_reference

CASES = {
    "full": "tiny_full_train_b2.npz",
    "no semantic branch": "tiny_nosem_train_b2.npz",
    "not interleaved": "tiny_noninter_train_b2.npz",
    "no mask flow": "tiny_noflow_train_b2.npz",
    "cascade mask r-cnn": "tiny_cascade_train_b2.npz",
}
TWIN = "tiny_full_train_f64.npz"

# Ours -> the reference's, each weighted as in the sum.
LOSSES = {
    "loss_rpn_cls": "loss_rpn_cls",
    "loss_rpn_reg": "loss_rpn_bbox",
    "loss_semantic": "loss_semantic_seg",
    **{f"loss_bbox_cls_stage{t}": f"s{t}.loss_cls" for t in range(3)},
    **{f"loss_bbox_reg_stage{t}": f"s{t}.loss_bbox" for t in range(3)},
    **{f"loss_mask_stage{t}": f"s{t}.loss_mask" for t in range(3)},
    "loss": "total",
}


@pytest.mark.parametrize("case", CASES)
def test_every_stored_tensor(case, monkeypatch, agreement):
    tensors, meta = reference_module().load(CASES[case])
    model = build(meta)
    check = Comparison(tensors, meta)
    recorder = watch(model, monkeypatch)
    losses = step(model, tensors, meta)

    network_agrees(check, recorder)
    anchors_agree(check, recorder, meta)
    roi_samples_agree(check, recorder, model, meta)
    worst_loss = losses_agree(tensors, losses, 1e-5)
    tolerances = {key: 3 * noise for key, noise in meta["grad_rel_l2_noise"].items()}
    errors = gradient_errors(model, tensors)
    jumped = {key for key, error in errors.items() if error > tolerances[key]}
    if jumped:
        # Where a ReLU's input lies within rounding of 0, a float32 gradient jumps, by up to 1e-2
        # between two runs of the reference itself. In float64 nothing lies so near: there the
        # gradient must be the stored one to the same tolerance.
        assert all(errors[key] < 1e-2 for key in jumped), errors
        double = build(meta, "float64")
        resize_in_float64(monkeypatch)
        step(double, tensors | {"input": tensors["input"].astype("float64")}, meta)
        in_double = gradient_errors(double, tensors)
        assert {k: in_double[k] for k in jumped if in_double[k] > tolerances[k]} == {}
    worst_gradient = worst_of(errors)
    if jumped:
        worst_gradient += f"; by a ReLU's jump: {', '.join(sorted(jumped))}"
    no_tensor_left_out(check)
    agreement(f"{case}, training", "worst intermediate", f"{check.worst:.1e} ({check.worst_key})")
    agreement(f"{case}, training", "worst loss", worst_loss)
    agreement(f"{case}, training", "worst gradient", worst_gradient)


def test_float64_twin(monkeypatch, agreement):
    """The same step in float64, where no rounding hides an error."""
    tensors, meta = reference_module().load(TWIN)
    model = build(meta, "float64")
    check = Comparison(tensors, {})
    recorder = watch(model, monkeypatch)
    # Paddle's interpolation computes positions in float32 whatever the type: 1e-5 off in float64.
    resize_in_float64(monkeypatch)
    losses = step(model, tensors, meta)

    network_agrees(check, recorder)
    anchors_agree(check, recorder, meta)
    roi_samples_agree(check, recorder, model, meta)
    worst_loss = losses_agree(tensors, losses, 1e-6)
    errors = gradient_errors(model, tensors)
    assert max(errors.values()) <= 1e-6, errors
    worst_gradient = worst_of(errors)
    no_tensor_left_out(check)
    row = "full, training, float64"
    agreement(row, "worst intermediate", f"{check.worst:.1e} ({check.worst_key})")
    agreement(row, "worst loss", worst_loss)
    agreement(row, "worst gradient", worst_gradient)


def watch(model, monkeypatch) -> Recorder:
    recorder = Recorder(monkeypatch)
    recorder.watch(model.fpn, "forward", "fpn")
    if model.semantic_head:
        recorder.watch(model.semantic_head, "forward", "semantic")
        recorder.watch(semantic_module, "semantic_labels")
    recorder.watch(model.rpn, "forward", "rpn")
    recorder.watch(model.rpn.objectness, "forward", "objectness")
    recorder.watch(model.rpn.deltas, "forward", "rpn_deltas")
    recorder.watch(rpn_module, "nms_per_picture")
    recorder.watch(model.rpn, "sample_anchors")
    recorder.watch(model, "sample", "samples")
    recorder.watch(targets_module, "sample", "chosen")
    recorder.watch(cascade_module, "drop_ground_truth")
    recorder.watch(cascade_module, "mask_samples")
    recorder.watch(cascade_module, "smooth_l1")
    for t in range(3):
        recorder.watch(model.box_heads[t], "forward", f"box_head{t}")
        recorder.watch(model.mask_heads[t], "forward", f"mask_head{t}")
    return recorder


def step(model, tensors, meta) -> dict:
    """Forward and backward of the stored batch."""
    model.train()
    images = paddle.to_tensor(tensors["input"])
    image_sizes = paddle.to_tensor(meta["img_shapes"], dtype=images.dtype)
    losses = model(images, image_sizes, ground_truth_of(tensors))
    losses["loss"].backward()
    return losses


def network_agrees(check, recorder):
    """Pyramid, RPN outputs, semantic branch and proposals."""
    for level in range(5):
        check.close(f"p{level}", recorder.results("fpn")[0][level])
        check.close(f"rpn_cls{level}", recorder.results("objectness")[level])
        check.close(f"rpn_reg{level}", recorder.results("rpn_deltas")[level])
    if "semantic" in recorder.calls:
        check.close("sem_pred", recorder.results("semantic")[0].logits)
        check.close("sem_feat", recorder.results("semantic")[0].embedding)
        check.equal("sem_target", recorder.results("semantic_labels")[0])
    (ranked,) = recorder.results("nms_per_picture")
    ends = np.cumsum(ranked.boxes_num)
    ends[-1] -= 1  # the spare row
    boxes, scores = np.split(ranked.boxes, ends), np.split(ranked.scores, ends)
    for picture in range(len(ends)):
        check.close(f"proposals_img{picture}", boxes[picture])
        probs = 1 / (1 + np.exp(-scores[picture].astype("float64")))
        check.close(f"proposal_scores_img{picture}", probs)


def anchors_agree(check, recorder, meta):
    """The sampled anchors: only inside the picture, counted among all anchors of all levels."""
    anchors = np.concatenate([level.anchors for level in recorder.results("rpn")[0]])
    for picture, (height, width) in enumerate(meta["img_shapes"]):
        x1, y1, x2, y2 = anchors.T
        inside = np.flatnonzero((x1 >= 0) & (y1 >= 0) & (x2 < width) & (y2 < height))
        key = f"rpn_img{picture}_"
        check.equal(key + "num_inside_anchors", np.int64(len(inside)))
        positive, negative, targets = recorder.results("sample_anchors")[picture]
        check.equal(key + "pos_anchor_inds", positive)
        check.equal(key + "neg_anchor_inds", negative)
        assert np.isin(positive, inside).all() and np.isin(negative, inside).all()
        check.close(key + "pos_bbox_targets", targets)
        truth = recorder.arguments("sample_anchors", 2)[picture]
        gt_boxes = truth.boxes.numpy()[check.tensors[key + "pos_assigned_gt_inds"]]
        # The targets are of the stored ground truth: decoding them gives its boxes back.
        np.testing.assert_allclose(decode(anchors[positive], targets), gt_boxes, atol=1e-2)
        check.compared.append(key + "pos_assigned_gt_inds")


def decode(boxes, deltas):
    """Boxes moved by deltas, as in R-CNN's appendix C."""
    sides = boxes[:, 2:] - boxes[:, :2]
    centres = (boxes[:, 2:] + boxes[:, :2]) / 2 + deltas[:, :2] * sides
    sides = sides * np.exp(deltas[:, 2:])
    return np.concatenate([centres - sides / 2, centres + sides / 2], axis=1)


def roi_samples_agree(check, recorder, model, meta):
    """RoIs, labels, targets and refined boxes of every stage's box and mask heads."""
    num_pictures = len(meta["img_shapes"])
    interleaved = model.config.cascade.interleaved
    samples, chosen = iter(recorder.results("samples")), iter(recorder.results("chosen"))
    for t in range(3):
        part = next(samples)
        picks = [next(chosen) for _ in range(num_pictures)]
        sampled_agree(check, f"s{t}_bbox", part, picks)
        pictures = np.repeat(np.arange(num_pictures), part.rois.boxes_num)[:, None]
        check.close(f"s{t}_bbox_rois", np.concatenate([pictures, part.rois.boxes], axis=1))
        class_logits, deltas = recorder.results(f"box_head{t}")[0]
        check.close(f"s{t}_cls_score", class_logits)
        check.close(f"s{t}_bbox_pred", deltas)
        check.equal(f"s{t}_labels", part.labels)
        check.equal(f"s{t}_label_weights", np.ones_like(part.labels))
        positive = part.gt_index >= 0
        check.equal(f"s{t}_bbox_weights", np.repeat(positive[:, None], 4, axis=1))
        targets = np.zeros_like(deltas)
        targets[positive] = recorder.arguments("smooth_l1", 1)[t]
        check.close(f"s{t}_bbox_targets", targets)
        refined = recorder.results("drop_ground_truth")[t]
        for picture, boxes in enumerate(np.split(refined.boxes, np.cumsum(refined.boxes_num)[:-1])):
            check.close(f"s{t}_refined_img{picture}", boxes)
        if interleaved:
            part = next(samples)
            picks = [next(chosen) for _ in range(num_pictures)]
        sampled_agree(check, f"s{t}_mask", part, picks)
        masks = recorder.results("mask_samples")[t]
        pictures = np.repeat(np.arange(num_pictures), masks.rois.boxes_num)[:, None]
        check.close(f"s{t}_mask_rois", np.concatenate([pictures, masks.rois.boxes], axis=1))
        check.close(f"s{t}_mask_pred", recorder.results(f"mask_head{t}")[0])
        check.equal(f"s{t}_mask_targets", masks.targets.astype(bool))
    assert next(samples, None) is None and next(chosen, None) is None


def sampled_agree(check, prefix, part, picks):
    """One sampling of RoIs of all pictures: rows, boxes and what they were matched to."""
    ends = np.cumsum(part.rois.boxes_num)[:-1]
    columns = zip(*(np.split(column, ends) for column in (part.rois.boxes, *part[1:])), strict=True)
    for picture, (boxes, labels, gt_index, _, was_gt) in enumerate(columns):
        key = f"{prefix}_img{picture}_"
        positive = gt_index >= 0
        check.equal(key + "pos_inds", picks[picture][0])
        check.equal(key + "neg_inds", picks[picture][1])
        check.close(key + "pos_priors", boxes[positive])
        check.close(key + "neg_priors", boxes[~positive])
        check.equal(key + "pos_is_gt", was_gt[positive])
        check.equal(key + "pos_assigned_gt_inds", gt_index[positive])
        check.equal(key + "pos_gt_labels", labels[positive])


def losses_agree(tensors, losses, tolerance) -> str:
    """Each loss within the relative tolerance; returns the worst."""
    expected = {ours: f"loss/{theirs}" for ours, theirs in LOSSES.items()}
    stored = {ours: float(tensors[key]) for ours, key in expected.items() if key in tensors}
    assert set(losses) == set(stored)
    errors = {name: abs(float(losses[name]) - stored[name]) / stored[name] for name in losses}
    assert max(errors.values()) <= tolerance, errors
    worst = max(errors, key=errors.get)
    return f"{errors[worst]:.1e} ({worst})"


def gradient_errors(model, tensors) -> dict[str, float]:
    """Stored gradient -> relative L2 distance of ours from it."""
    parameters = dict(model.named_parameters())
    errors = {}
    for key in (key for key in tensors if key.startswith("grad/")):
        name = key.removeprefix("grad/")
        stored = our_array(name, tensors[key].astype("float64"))
        ours = parameters[our_name(name)].grad.numpy()
        errors[key] = np.linalg.norm(ours - stored) / np.linalg.norm(stored)
    assert errors
    return errors


def worst_of(errors) -> str:
    worst = max(errors, key=errors.get)
    return f"{errors[worst]:.1e} ({our_name(worst.removeprefix('grad/'))})"


# Inputs; gradients and losses, which have tests of their own; and mmdetection's other measures.
APART = ("input", "img", "gt", "grad/", "gradnorm", "gradsum", "loss/")


def no_tensor_left_out(check):
    left = {key for key in set(check.tensors) - set(check.compared) if not key.startswith(APART)}
    assert {key for key in left if not key.endswith("mask_targets_polygon_unused")} == set()


def test_all_gradient_norms():
    """Every trained parameter's gradient, by its norm, also those whose values are not stored."""
    tensors, meta = reference_module().load(TWIN)
    model = build(meta, "float64")
    monkeypatch = pytest.MonkeyPatch()
    resize_in_float64(monkeypatch)
    step(model, tensors, meta)
    monkeypatch.undo()
    parameters = dict(model.named_parameters())
    ours = [float(parameters[our_name(name)].grad.norm()) for name in meta["grad_names"]]
    np.testing.assert_allclose(ours, tensors["gradnorm"], rtol=1e-6)


def resize_in_float64(monkeypatch):
    """Has resize_like done as two matrix products."""

    def resize_like(x, like):
        rows, columns = (linear_weights(x.shape[i], like.shape[i]) for i in (2, 3))
        return paddle.matmul(paddle.matmul(rows, x), columns, transpose_y=True)

    for module in (resizing_module, semantic_module):
        monkeypatch.setattr(module, "resize_like", resize_like)


def linear_weights(count: int, wanted: int):
    """[wanted, count] weights of linear interpolation with corners on corners."""
    positions = np.linspace(0, count - 1, wanted)
    below = np.minimum(np.floor(positions).astype(int), max(count - 2, 0))
    weights = np.zeros((wanted, count))
    weights[np.arange(wanted), below] = 1 - (positions - below)
    weights[np.arange(wanted), np.minimum(below + 1, count - 1)] += positions - below
    return paddle.to_tensor(weights)
