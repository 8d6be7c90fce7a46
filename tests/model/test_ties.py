"""Exact ties follow one rule (see htc.model.boxes); the stored cases of the reference have none."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from small_models import picture, tiny_model

from htc.config import load_config
from htc.model.boxes import RoIs, nms_per_picture, top_k_indices
from htc.model.targets import choose_at_random, choose_evenly, match_proposals, sample, sample_rois

CASCADE = load_config("htc_r50_fpn_1x_coco").model.cascade


def truth_of(*boxes):
    return picture(64, 64, len(boxes), boxes=paddle.to_tensor(boxes, dtype="float32"))


def match(proposals, truth, iou=0.5):
    boxes = paddle.to_tensor(proposals, dtype="float32")
    return match_proposals(boxes, truth, iou, CASCADE).tolist()


def test_a_ground_truth_s_best_proposal_goes_to_the_later_of_two_equal_ones():
    """One proposal, the best of two ground truths at the same IoU: the last one takes it."""
    truth = truth_of([0, 0, 10, 8], [0, 2, 10, 10])
    assert match([[0, 0, 10, 10]], truth) == [1]


def test_a_proposal_that_is_nobody_s_best_goes_to_the_first_of_two_equal_ones():
    truth = truth_of([0, 0, 10, 8], [0, 2, 10, 10])
    better = [[0, 0, 10, 8], [0, 2, 10, 10]]
    assert match([[0, 0, 10, 10], *better], truth) == [0, 0, 1]


def test_all_proposals_that_equal_the_best_are_taken():
    """Two proposals at a ground truth's best IoU, though both overlap another one more."""
    truth = truth_of([0, 0, 20, 10], [0, 0, 20, 16])
    proposals = [[0, 0, 20, 14], [0, 0, 20, 14]]
    # IoU 10/14 with the smaller and 14/16 with the larger, the best of each: the last takes both.
    assert match(proposals, truth) == [1, 1]
    assert match(proposals, truth_of([0, 0, 20, 16], [0, 0, 20, 10])) == [1, 1]


def test_a_proposal_at_the_threshold_is_positive():
    truth = truth_of([0, 0, 10, 10])
    assert match([[0, 0, 10, 10], [0, 0, 10, 5]], truth) == [0, 0]
    assert match([[0, 0, 10, 10], [0, 0, 10, 4.99]], truth) == [0, -1]


def test_duplicate_ground_truth_is_prepended_each_as_its_own():
    truth = truth_of([0, 0, 10, 10], [0, 0, 10, 10])
    proposals = RoIs(
        paddle.to_tensor([[30.0, 30.0, 40.0, 40.0]]), paddle.to_tensor([1], dtype="int32")
    )
    samples = sample_rois(proposals, [truth], 0.5, CASCADE, 3, choose_evenly)
    assert samples.gt_index.tolist() == [0, 1, -1]
    assert samples.was_gt.tolist() == [True, True, False]


def test_equal_scores_keep_the_lower_index():
    boxes = [[0, 0, 10, 10], [0, 0, 10, 10], [20, 20, 30, 30], [0, 0, 10, 11]]
    ranked = nms_per_picture(
        paddle.to_tensor(boxes, dtype="float32"),
        paddle.full([4], 0.5),
        paddle.zeros([4], dtype="int64"),
        paddle.zeros([4], dtype="int64"),
        1,
        1,
        0.5,
        2,
    )
    assert ranked.boxes.tolist()[:-1] == [boxes[0], boxes[2]]
    assert ranked.boxes_num.tolist() == [3]  # with the spare row


def test_equal_scores_at_the_end_of_the_ranking_are_taken_by_rising_index():
    """Of a plateau across the limit, the first ones; 2000 of them, so that a sort would show."""
    scores = np.zeros((2, 3000), "float32")
    scores[0, [5, 2999]] = 1
    scores[1, 1000:] = 1
    best = top_k_indices(paddle.to_tensor(scores), 1000).numpy()
    np.testing.assert_array_equal(best[0], [*range(999), 2999])
    np.testing.assert_array_equal(best[1], range(1000, 2000))


def test_scores_that_differ_by_little_are_no_tie():
    scores = paddle.to_tensor([[2e-9, 3e-9, 1e-9, 4e-9]])
    assert top_k_indices(scores, 3).tolist() == [[0, 1, 3]]


def test_equal_detections_of_two_classes_are_ordered_by_class():
    model = tiny_model(test={"score_threshold": 0.0, "max_detections": 2})
    for head in model.box_heads:
        head.class_logits.weight.set_value(paddle.zeros_like(head.class_logits.weight))
    model.eval()
    with paddle.no_grad():
        detections = model(paddle.ones([1, 3, 64, 64]), paddle.to_tensor([[64.0, 64.0]]))
    assert detections.scores[0] == detections.scores[1] == 0.25
    assert detections.labels.tolist() == [0, 1]
    assert detections.boxes[0].tolist() == detections.boxes[1].tolist()


def test_scores_that_are_not_numbers_rank_last():
    scores = paddle.to_tensor([[float("nan"), 1.0, float("-inf"), 2.0]])
    assert top_k_indices(scores, 2).tolist() == [[1, 3]]
    assert top_k_indices(scores, 9).tolist() == [[0, 1, 2, 3]]


@pytest.mark.parametrize("choose", [choose_at_random, choose_evenly])
def test_sampling_takes_what_it_says(choose):
    paddle.seed(0)
    matched = paddle.to_tensor([0, -1, 2, -2, 1, -1, -1, 0, -1, -1], dtype="int64")
    positive, negative = sample(matched, 6, 0.5, choose)
    assert len(positive) == 3 and len(negative) == 3
    assert {0, 2, 4, 7} >= set(positive.tolist()) and {1, 5, 6, 8, 9} >= set(negative.tolist())
    for index in (positive, negative):
        assert index.tolist() == sorted(set(index.tolist()))
    positive, negative = sample(matched, 100, 0.5, choose)
    assert positive.tolist() == [0, 2, 4, 7] and negative.tolist() == [1, 5, 6, 8, 9]


def test_random_sampling_is_even_handed():
    """Each of 20 is chosen about as often: 4000 draws of 5, three standard deviations are 82."""
    paddle.seed(0)
    gallery = paddle.arange(20, dtype="int64")
    drawn = np.concatenate([choose_at_random(gallery, 5).numpy() for _ in range(4000)])
    assert np.abs(np.bincount(drawn, minlength=20) - 1000).max() < 110


def test_even_sampling_is_the_reference_s_rule():
    gallery = paddle.to_tensor([3, 5, 8, 13, 21, 34, 55], dtype="int64")
    assert choose_evenly(gallery, 3).tolist() == [3, 8, 21]
