"""Every operator against its NumPy statement, torchvision and itself. Raises AssertionError."""

from __future__ import annotations

import oracles
import peers
import torch

SIZE = (60, 80)
ROUNDING = {torch.float32: 2e-5, torch.float64: 1e-12, torch.float16: 4e-3, torch.bfloat16: 3e-2}


class Checks:
    """One method an operator; each puts its inputs on the device of `operators`."""

    def __init__(self, operators, full: bool):
        import numpy

        oracles.load()
        self.np = numpy
        self.ops = operators
        self.full = full  # at a detector's sizes too
        self.seed = 0

    def all(self):
        """(name, check) of every operator."""
        names = [name for name in dir(self) if name.startswith("check_")]
        return [(name.removeprefix("check_"), getattr(self, name)) for name in sorted(names)]

    def put(self, array, dtype=None):
        tensor = torch.from_numpy(self.np.ascontiguousarray(array)).to(self.ops.device)
        return tensor if dtype is None else tensor.to(dtype)

    def same(self, actual, expected, what):
        actual = actual.cpu().numpy() if isinstance(actual, torch.Tensor) else actual
        expected = expected.cpu().numpy() if isinstance(expected, torch.Tensor) else expected
        assert actual.shape == expected.shape, f"{what}: {actual.shape}, not {expected.shape}"
        wrong = int((actual != expected).sum())
        assert wrong == 0, f"{what}: {wrong} of {actual.size} differ"

    def near(self, actual, expected, tolerance, what):
        actual, expected = actual.double().cpu(), torch.as_tensor(expected).double().cpu()
        assert actual.shape == expected.shape, f"{what}: {actual.shape}, not {expected.shape}"
        worst = ((actual - expected).abs() / (1 + expected.abs())).max() if actual.numel() else 0.0
        assert float(worst) <= tolerance, f"{what}: off by {float(worst):.3g}"

    def check_roi_align(self):
        np, oracle = self.np, oracles.reference("roi_align")
        case = oracles.cases("roi_align")
        odd = np.float32([[20, 20, 20, 20], [30, 30, 10, 10], [np.nan] * 4, [0, 0, np.inf, 5]])
        boxes = np.concatenate(
            [case.USUAL_BOXES, odd, case.boxes_in_picture(300 if self.full else 20, SIZE, 2, 90)]
        )
        boxes_num = np.array([11, 0, len(boxes) - 11])
        maps = case.feature_pyramid(SIZE, channels=5, pictures=3, strides=(1, 2, 4))
        scales = [1.0, 0.5, 0.25]
        for pooled, ratio in (((7, 7), 0), ((3, 14), 2)):
            arguments = (boxes, boxes_num, pooled, [1, 2, 4])
            options = {"sampling_ratio": ratio, "canonical_size": 12}
            expected = oracle.multilevel_roi_align(maps, *arguments, **options)
            shapes = [x.shape for x in maps]
            grad = np.random.default_rng(1).normal(0, 1, expected.shape)
            grads = oracle.multilevel_roi_align_grad(
                grad.astype("f4"), shapes, boxes, boxes_num, [1, 2, 4], **options
            )
            on_device = self.put(boxes), self.put(boxes_num)
            for dtype in (torch.float32, torch.float16, torch.bfloat16):
                name = f"{str(dtype)[6:]} to {pooled}"
                x = [self.put(each, dtype) for each in maps]
                actual = self.ops.roi_align(x, *on_device, pooled, scales, **options)
                self.near(actual, expected, ROUNDING[dtype] * 2, f"forward, {name}")
                g = self.put(grad.astype("f4"), dtype)
                results = [
                    self.ops.roi_align_grad(g, shapes, *on_device, scales, **options)
                    for _ in range(2)
                ]
                for first, again, should in zip(*results, grads, strict=True):
                    self.near(first, should, ROUNDING[dtype] * 4, f"gradient, {name}")
                    self.same(first.float(), again.float(), f"gradient twice, {name}")
                atomic = self.ops.roi_align_grad_atomic(g, shapes, *on_device, scales, **options)
                for actual, should in zip(atomic, grads, strict=True):
                    self.near(actual, should, ROUNDING[dtype] * 4, f"atomic gradient, {name}")
        if self.full:
            self._roi_align_at_full_size(case)

    def _roi_align_at_full_size(self, case):
        for count, pooled in ((1000, (7, 7)), (100, (14, 14))):
            maps = [self.put(x) for x in case.feature_pyramid(channels=64, pictures=2)]
            boxes = self.put(case.boxes_in_picture(2 * count))
            boxes_num = self.put(self.np.array([count, count]))
            scales = [1 / stride for stride in case.STRIDES]
            rois = peers.batch_index(boxes, boxes_num)
            # Where a sample lies is rounded too: neighbouring pixels of noise differ by more than
            # 1, so float32 moves results by some 1e-4. The nearer to float64 of the two wins.
            exact = self.ops.roi_align(
                [x.double() for x in maps], boxes.double(), boxes_num, pooled, scales
            )
            theirs = peers.roi_align(maps, rois, pooled, scales)
            actual = self.ops.roi_align(maps, boxes, boxes_num, pooled, scales)
            errors = [float((x.double() - exact).abs().max()) for x in (actual, theirs)]
            print(
                f"  {count} boxes against float64: ours {errors[0]:.2e}, torchvision {errors[1]:.2e}"
            )
            self.near(theirs, exact, 1e-3, f"{count} boxes in float64 against torchvision")
            assert errors[0] <= 1.2 * errors[1], f"{count} boxes: off by {errors[0]:.3g}"
            grad = torch.randn_like(actual)
            sizes = [tuple(x.shape) for x in maps]
            expected = peers.roi_align_grad(grad, sizes, rois, scales)
            for function in (self.ops.roi_align_grad, self.ops.roi_align_grad_atomic):
                actual = function(grad, sizes, boxes, boxes_num, scales)
                for level, pair in enumerate(zip(actual, expected, strict=True)):
                    what = f"{function.__name__} of level {level} against torchvision"
                    self.near(*pair, 1e-3, what)

    def check_nms(self):
        np, oracle, case = self.np, oracles.reference("nms"), oracles.cases("nms")
        for dtype in ("float32", "float64"):
            for count in (1, 64, 65, 1000):
                boxes, scores, ids = case.detections(count, 3, dtype)
                boxes[::17, 2] = boxes[::17, 0]  # empty
                boxes[5::31] = np.nan
                scores[::7] = scores[0]  # ties
                tensors = self.put(boxes), self.put(scores)
                for threshold in (0.0, 0.5):
                    actual = self.ops.nms(*tensors, threshold)
                    self.same(actual, oracle.nms(boxes, scores, threshold), f"{dtype} {count}")
                    actual = self.ops.nms(*tensors, threshold, self.put(ids), max_keep=40)
                    expected = oracle.batched_nms(boxes, scores, ids, threshold, 40)
                    self.same(actual, expected, f"of classes, {dtype} {count}")
        if self.full:
            for count in (2000, 10000, 40000):  # the last in several passes
                boxes, scores = map(self.put, case.proposals(count))
                expected = peers.nms(boxes, scores, 0.5)
                self.same(self.ops.nms(boxes, scores, 0.5), expected, f"{count}: torchvision")
            boxes, scores, ids = map(self.put, case.detections(2000, 80))
            expected = oracle.batched_nms(*(x.cpu().numpy() for x in (boxes, scores, ids)), 0.5)
            self.same(self.ops.nms(boxes, scores, 0.5, ids), expected, "80 classes")

    def check_soft_nms(self):
        oracle, case = oracles.reference("soft_nms"), oracles.cases("nms")
        for count in (1, 300, 1500) if self.full else (1, 80):
            boxes, scores = case.proposals(count)
            for method in ("linear", "gaussian"):
                kept, new = self.ops.soft_nms(self.put(boxes), self.put(scores), method)
                expected = oracle.soft_nms(boxes, scores, method=method)
                self.same(kept, expected[0], f"{method} {count}")
                self.near(new, expected[1], 1e-6, f"scores, {method} {count}")

    def check_match_anchors(self):
        oracle, case = oracles.reference("match_anchors"), oracles.cases("match_anchors")
        anchors = case.anchors() if self.full else case.anchors((96, 128))
        size = (800, 1333) if self.full else (96, 128)
        for gts in (0, 1, 20, 300):
            boxes = case.boxes(gts, size)
            boxes[: gts // 3] = anchors[1000 : 1000 + gts // 3]  # exact ties
            for rule in ((0.7, 0.3, 0.3, True), (0.5, 0.5, 0.5, False)):
                actual = self.ops.match_anchors(self.put(anchors), self.put(boxes), *rule)
                expected = oracle.match_anchors(anchors, boxes, *rule)
                for what, *pair in zip(("matched", "max_iou"), actual, expected, strict=True):
                    self.same(*pair, f"{what}, {gts} ground truths")

    def check_box_codec(self):
        oracle, case = oracles.reference("box_codec"), oracles.cases("box_codec")
        boxes, deltas = case.boxes_and_deltas(500, 3)
        sizes, boxes_num = self.np.float32([[800, 1333], [600, 900]]), self.np.array([200, 300])
        unit = (0,) * 4, (1,) * 4
        actual = self.ops.decode_boxes(*map(self.put, (boxes, deltas, sizes, boxes_num)))
        expected = oracle.decode_boxes(boxes, deltas, *unit, sizes, boxes_num)
        self.near(actual, expected, 1e-5, "decode")
        targets = oracle.decode_boxes(boxes, deltas[:, :4], *unit)
        actual = self.ops.encode_boxes(self.put(boxes), self.put(targets))
        self.near(actual, oracle.encode_boxes(boxes, targets, *unit), 1e-4, "encode")

    def check_paste_masks(self):
        np, oracle, case = self.np, oracles.reference("paste_masks"), oracles.cases("masks")
        boxes = np.concatenate([case.USUAL_BOXES, case.EMPTY_BOXES, case.HUGE_BOXES])
        inputs = [(case.soft_masks(len(boxes)), boxes, SIZE), (*case.detections(9, SIZE), SIZE)]
        if self.full:
            inputs.append((*case.detections(20), (800, 1333)))
        for masks, boxes, size in inputs:
            tensors = self.put(masks), self.put(boxes.astype("f8"))
            expected = oracle.paste_masks(masks, boxes, size)
            self.same(self.ops.paste_masks(*tensors, size), expected, f"bitmaps of {size}")
            bits = self.ops.paste_masks(*tensors, size, packed=True)
            self.same(bits, np.packbits(expected, axis=-1), f"bits of {size}")
            codes, offsets = self.ops.paste_masks_rle(*tensors, size)
            should = [oracle.encode_rle(bitmap) for bitmap in expected]
            self.same(codes, np.frombuffer(b"".join(should), "uint8"), f"codes of {size}")
            lengths = np.cumsum([0, *map(len, should)])
            self.same(offsets, lengths, f"lengths of {size}")

    def check_mask_targets(self):
        oracle, case = oracles.reference("mask_targets"), oracles.cases("masks")
        boxes, bitmaps, index = case.positives(60, 5, (200, 300))
        values = oracle.mask_target_values(boxes, bitmaps, index, (28, 28))
        actual = self.ops.mask_targets(*map(self.put, (boxes, bitmaps, index)), (28, 28))
        # A sum of weights rounds: within that of the threshold, either answer stands.
        certain = self.np.abs(values - 0.5) > 1e-5
        self.same(actual.cpu().numpy()[certain], (values >= 0.5)[certain], "targets")

    def check_polygon_mask_targets(self):
        np, oracle = self.np, oracles.reference("polygon_mask_targets")
        boxes, polygons, index = oracles.cases("polygons").positive_polygons(60, 6, (200, 300))
        flat = flat_polygons(np, polygons)
        tensors = [self.put(x) for x in (boxes, *flat, index)]
        for size in ((28, 28), (3, 40)):
            expected = oracle.polygon_mask_targets(boxes, polygons, index, size)
            self.same(self.ops.polygon_mask_targets(*tensors, size), expected, f"to {size}")


def flat_polygons(np, polygons):
    """points [P, 2], part_offsets, gt_offsets: as the kernels take them."""
    parts = [np.reshape(part, (-1, 2)) for gt in polygons for part in gt]
    part_offsets = np.cumsum([0, *(len(part) for part in parts)])
    return np.concatenate(parts), part_offsets, np.cumsum([0, *(len(gt) for gt in polygons)])
