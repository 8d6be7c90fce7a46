import itertools
import resource
import time

import numpy as np
import paddle
import pytest
from cases import masks as cases
from cases.roi_align import boxes_in_picture
from graphs import assert_same_in_graphs
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco
from targets import assert_same_on_every_target
from test_paste_masks import WRONG_ARGUMENTS, B, M
from threads import assert_threads_change_nothing

import htc_ops
from htc_ops.reference import paste_masks as oracle

tensor = paddle.to_tensor
SIZE = (60, 80)


def check(masks, boxes, image_size=SIZE, threshold=0.5):
    """The codes of the bitmaps that paste_masks makes, and that the oracle makes."""
    codes = htc_ops.paste_masks_rle(tensor(masks), tensor(boxes), image_size, threshold)
    bitmaps = htc_ops.paste_masks(tensor(masks), tensor(boxes), image_size, threshold).numpy()
    assert len(codes) == len(masks)
    for code, bitmap in zip(codes, bitmaps, strict=True):
        assert code == coco.encode(np.asfortranarray(bitmap))
        assert type(code["counts"]) is bytes
    np.testing.assert_array_equal(bitmaps, oracle.paste_masks(masks, boxes, image_size, threshold))
    return codes


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("mask_size", [(28, 28), (14, 14), (1, 1), (2, 3), (5, 1), (150, 40)])
def test_codes_match_pycocotools(mask_size, dtype):
    boxes = np.concatenate([cases.USUAL_BOXES, boxes_in_picture(30, SIZE, 1, 100)])
    check(cases.soft_masks(len(boxes), mask_size, dtype), boxes)
    check(cases.soft_masks(len(boxes), mask_size, dtype), boxes.astype("float64") + 1 / 3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_picture_of_usual_size(dtype):
    check(*cases.detections(40, dtype=dtype), (800, 1333))


@pytest.mark.parametrize("threshold", [0, 1e-6, 0.3, 0.5, 1])
@pytest.mark.parametrize("mask_size", [(28, 28), (63, 9), (64, 9), (65, 9), (127, 3), (130, 3)])
def test_noise_has_changes_everywhere(mask_size, threshold):
    # Codes far longer than those of blobs, columns of up to 131 segments, and exact ties.
    boxes = np.float32([[1.5, 2.5, 70, 290], [-40, -30, 99, 330], [3, 3, 9, 9]])
    noise = np.random.default_rng(0).uniform(0, 1, (3, *mask_size)).astype("float32")
    codes = check(noise, boxes, (300, 90), threshold)
    assert threshold != 0.5 or len(codes[0]["counts"]) > 5 * 69 + 64
    check(np.round(noise * 4) / 4, boxes, (300, 90), threshold)


@pytest.mark.parametrize("threshold", [0, 0.5])
def test_odd_boxes(threshold):
    boxes = np.concatenate([cases.EMPTY_BOXES, cases.HUGE_BOXES])
    codes = check(np.ones((len(boxes), 4, 4), "float32"), boxes, SIZE, threshold)
    empty = coco.encode(np.zeros(SIZE, "uint8", order="F"))
    assert codes[: len(cases.EMPTY_BOXES)] == [empty] * len(cases.EMPTY_BOXES)


def test_values_that_are_no_probabilities():
    values = [np.nan, np.inf, -np.inf, 3e38, -3e38, 0.5, 0, 1]
    masks = np.random.default_rng(0).choice(np.float32(values), (80, 5, 4))
    boxes = np.tile(np.float32([[7, 5, 61, 47]]), (80, 1))
    for threshold in (0, 0.5):
        check(masks, boxes, SIZE, threshold)


def test_values_next_to_the_threshold():
    # Neighbouring cells a few ulps apart: the value stands still over many pixels, and where it
    # changes depends on rounding alone.
    random = np.random.default_rng(1)
    masks = np.float32(0.5) + random.integers(-3, 4, (20, 3, 3)).astype("float32") * np.float32(
        2**-25
    )
    check(masks, np.tile(np.float32([[-300, -300, 700, 900]]), (20, 1)), (600, 50))


def test_full_and_empty_masks_join_columns():
    ones = np.ones((1, 2, 2), "float32")
    for box in ([-90, -90, 190, 190], [-90, 20, 190, 190], [-90, -90, 190, 30], [10, 0, 20, 99]):
        check(ones, np.float32([box]), SIZE, 0.4)
    check(ones * 0, np.float32([[0, 0, 80, 60]]))


@pytest.mark.parametrize("count", [0, 3])
@pytest.mark.parametrize("image_size", [(0, 0), (0, 5), (5, 0), (1, 1), SIZE])
@pytest.mark.parametrize("mask_size", [(0, 0), (0, 3), (4, 4)])
def test_nothing_to_paste_and_nowhere_to_paste(count, image_size, mask_size):
    boxes = np.tile(np.float32([[-1, -1, 9, 9]]), (count, 1))
    codes = htc_ops.paste_masks_rle(
        paddle.ones([count, *mask_size]), tensor(boxes.reshape(-1, 4)), image_size
    )
    expected = oracle.encode_rle(
        oracle.paste_masks(
            np.ones((1, *mask_size), "float32"), np.float32([[-1, -1, 9, 9]]), image_size
        )[0]
    )
    assert codes == [{"size": list(image_size), "counts": expected}] * count


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.tuples(st.integers(1, 6), st.integers(1, 6)),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.lists(st.floats(-60, 60, width=32), min_size=4, max_size=4),
    st.sampled_from([0.0, 0.25, 0.5, 1.0]),
)
def test_any_box_on_any_picture(seed, mask_size, image_size, box, threshold):
    random = np.random.default_rng(seed)
    masks = random.choice(np.float32([0, 0.25, 0.5, 0.75, 1]), (1, *mask_size))
    check(masks, np.float32([box]), image_size, threshold)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 1), min_size=1, max_size=60), st.integers(1, 6))
def test_the_oracle_s_code_is_pycocotools_s(pixels, width):
    height = len(pixels) // width
    bitmap = np.asfortranarray(np.uint8(pixels[: height * width]).reshape(height, width))
    assert height == 0 or oracle.encode_rle(bitmap) == coco.encode(bitmap)["counts"]


def test_the_codes_as_tensors():
    masks, boxes = map(tensor, cases.detections(7, SIZE))
    codes, offsets = htc_ops.paste_masks_rle(masks, boxes, SIZE, as_tensors=True)
    assert (codes.dtype, offsets.dtype) == (paddle.uint8, paddle.int64)
    ends = offsets.tolist()
    assert ends[0] == 0
    assert ends[-1] == len(codes)
    whole = codes.numpy().tobytes()
    pieces = [whole[a:b] for a, b in itertools.pairwise(ends)]
    assert pieces == [c["counts"] for c in htc_ops.paste_masks_rle(masks, boxes, SIZE)]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_float32(dtype):
    masks, boxes = tensor(cases.soft_masks(6)).astype(dtype), tensor(cases.USUAL_BOXES[:6])
    assert htc_ops.paste_masks_rle(masks, boxes, SIZE) == htc_ops.paste_masks_rle(
        masks.astype("float32"), boxes, SIZE
    )


def test_views_and_the_channel_axis():
    masks, boxes = cases.soft_masks(5, (6, 9)), cases.USUAL_BOXES[:5]
    turned = tensor(masks.transpose(0, 2, 1).copy()).transpose([0, 2, 1])
    expected = check(masks, boxes)
    assert htc_ops.paste_masks_rle(turned, tensor(boxes.T.copy()).t(), SIZE) == expected
    assert htc_ops.paste_masks_rle(tensor(masks[:, None]), tensor(boxes), SIZE) == expected


def test_the_number_of_threads_changes_nothing():
    masks, boxes = map(tensor, cases.detections(60))
    assert_threads_change_nothing(lambda: htc_ops.paste_masks_rle(masks, boxes, (800, 1333)))


def test_a_thousand_detections_on_a_hundred_megapixels():
    # The bitmaps would be 100 GB. What is held are the codes, and a draft of them.
    size = (10_000, 10_000)
    masks, boxes = map(tensor, cases.detections(1000, size))
    htc_ops.paste_masks_rle(masks[:1], boxes[:1], size)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    codes = htc_ops.paste_masks_rle(masks, boxes, size)
    seconds = time.perf_counter() - start
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    length = sum(len(code["counts"]) for code in codes) / 2**20
    assert grown < 20 + 6 * length, f"{grown:.0f} MiB more for {length:.1f} MiB of codes"
    assert seconds < 10  # some 20 ms; pixel by pixel it would be minutes
    n = 17
    assert coco.area(codes[n]) > 0
    x1, y1, x2, y2 = boxes[n].tolist()
    bx, by, bw, bh = coco.toBbox(codes[n]).tolist()
    margin = max(x2 - x1, y2 - y1) / 28 + 1
    assert bx >= x1 - margin
    assert by >= y1 - margin
    assert bx + bw <= x2 + margin
    assert by + bh <= y2 + margin


def test_a_picture_of_more_than_2_to_the_32_pixels():
    size = (2**31 - 1, 2**31 - 1)
    masks = np.ones((1, 1, 1), "float32")
    box = np.float64([[2**31 - 9, 2**31 - 9, 2**31 - 3, 2**31 - 3]])
    (code,) = htc_ops.paste_masks_rle(tensor(masks), tensor(box), size)
    # The middle of the cell reaches the threshold where both weights do: a cross of columns.
    small = oracle.paste_masks(masks, np.float64([[7, 7, 13, 13]]), (20, 20))[0]
    height = size[0]
    columns = np.flatnonzero(small.any(axis=0)) - 7 + (2**31 - 9)
    runs, at = [], 0
    for column, pixels in zip(columns, small[:, small.any(axis=0)].T, strict=True):
        rows = np.flatnonzero(pixels)
        start = int(column) * height + int(rows[0]) - 7 + (2**31 - 9)
        runs += [start - at, len(rows)]
        at = start + len(rows)
    assert decode_runs(code["counts"]) == [*runs, size[0] * size[1] - at]


def decode_runs(code):
    """The runs of a compressed code of any size."""
    runs, at = [], 0
    while at < len(code):
        number, shift, more = 0, 0, True
        while more:
            group = code[at] - 48
            number |= (group & 31) << shift
            more, shift, at = bool(group & 32), shift + 5, at + 1
        if group & 16:
            number -= 1 << shift
        runs.append(number + (runs[-2] if len(runs) > 2 else 0))
    return runs


def test_every_instruction_set_gives_the_same_bits(tmp_path):
    script = """
import paddle, htc_ops
from cases import masks as cases
results = []
for dtype in ("float32", "float64"):
    masks, boxes = map(paddle.to_tensor, cases.detections(20, (90, 120), dtype=dtype))
    results += htc_ops.paste_masks_rle(masks, boxes, (90, 120), as_tensors=True)
"""
    assert_same_on_every_target(script, tmp_path)


class _Paster(paddle.nn.Layer):
    def __init__(self):
        super().__init__()
        self.scale = self.create_parameter(
            [1], default_initializer=paddle.nn.initializer.Constant(2)
        )

    def forward(self, masks, boxes):
        codes, offsets = htc_ops.paste_masks_rle(
            masks, boxes * self.scale, SIZE, 0.4, as_tensors=True
        )
        return codes.astype("int32") + 1, offsets + 1


def test_in_graphs(tmp_path):
    specs = [
        paddle.static.InputSpec([None, None, None], "float32", "masks"),
        paddle.static.InputSpec([None, 4], "float32", "boxes"),
    ]
    examples = [cases.detections(n, (30, 40), (m, m)) for n, m in ((5, 28), (2, 7))]
    assert_same_in_graphs(_Paster, specs, examples, tmp_path)


def test_a_program_has_tensors_alone():
    def paste(masks, boxes):
        return htc_ops.paste_masks_rle(masks, boxes, SIZE)

    program = paddle.jit.to_static(paste, full_graph=True)
    with pytest.raises(ValueError, match="as_tensors: expected True in a program"):
        program(M, B)


@pytest.mark.parametrize(("arguments", "error", "message"), WRONG_ARGUMENTS)
def test_wrong_arguments_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        htc_ops.paste_masks_rle(*arguments)


def test_as_tensors_is_true_or_false():
    with pytest.raises(TypeError, match="as_tensors: expected True or False, got 1"):
        htc_ops.paste_masks_rle(M, B, SIZE, as_tensors=1)
