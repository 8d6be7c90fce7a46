"""Exported programs: the answers of the network, for any picture; and what a wrong one says."""

from __future__ import annotations

import json
import shutil

import numpy as np
import paddle
import pytest
from small_weights import CLASSES, picture, write_small_weights

import htc
from htc.deploy import ExportedNetwork, ExportError, read_manifest, write_export
from htc.deploy.sources import open_source


def batch(sizes, seed=0):
    """(images, image_sizes) of coloured blocks, padded."""
    from htc.config import load_config
    from htc.data.transforms import collate

    data = load_config(None, []).data
    return collate([picture(*size, seed + i) for i, size in enumerate(sizes)], data)


def assert_same(ours, theirs):
    """Detections within rounding."""
    assert ours.boxes_num.tolist() == theirs.boxes_num.tolist()
    for field, tolerance in (
        ("boxes", 1e-2),
        ("scores", 1e-4),
        ("labels", 0),
        ("mask_probs", 1e-3),
    ):
        one, other = getattr(ours, field), getattr(theirs, field)
        assert (one is None) == (other is None), field
        if one is not None:
            assert one.shape == other.shape and one.dtype == other.dtype, field
            np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=0, atol=tolerance)


@pytest.fixture(scope="module")
def network(exported):
    return ExportedNetwork(exported)


@pytest.fixture(scope="module")
def eager(weights):
    return open_source(weights).build()


@pytest.mark.parametrize(
    "sizes", [[(64, 96)], [(50, 70), (96, 40), (33, 64)], [(200, 33)], [(1, 1)], [(64, 96)] * 5]
)
def test_any_size_and_batch_gives_the_networks_answer(network, eager, sizes):
    images, image_sizes = batch(sizes)
    with paddle.no_grad():
        expected = eager(paddle.to_tensor(images), paddle.to_tensor(image_sizes))
    found = network(images, image_sizes)
    assert found.boxes.shape[0] > 0
    assert_same(found, expected)


def test_the_same_size_again_gives_the_same_bits(network):
    first, other, again = (network(*batch([(64, 96)], seed)) for seed in (0, 1, 0))
    assert not np.array_equal(first.scores.numpy(), other.scores.numpy())
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.numpy(), two.numpy())


@pytest.mark.parametrize(
    "overrides",
    [
        ["model.test.score_threshold=1"],
        ["model.mask_head.enabled=false", "eval.metrics=[box]", "eval.best=box"],
        ["model.semantic.enabled=false", "model.box_head.class_agnostic=false"],
    ],
    ids=["no detections", "no masks", "no semantic branch, one box a class"],
)
def test_variants(overrides, tmp_path):
    source = open_source(write_small_weights(tmp_path, *overrides))
    model = source.build()
    network = ExportedNetwork(write_export(tmp_path / "out", model, source.config, None))
    images, image_sizes = batch([(50, 70), (96, 40)])
    with paddle.no_grad():
        expected = model(paddle.to_tensor(images), paddle.to_tensor(image_sizes))
    found = network(images, image_sizes)
    assert_same(found, expected)
    assert (found.boxes.shape[0] == 0) == ("model.test.score_threshold=1" in overrides)


WIDE = [f"model.{part}.channels=32" for part in ("fpn", "rpn", "semantic", "mask_head")]


def test_bfloat16_is_near_float32_in_half_the_bytes(tmp_path):
    """Its own check, of write_export, passes; the network itself is left as it was."""
    source = open_source(write_small_weights(tmp_path, *WIDE))
    model = source.build()
    before = {name: value.numpy() for name, value in model.state_dict().items()}
    names = [parameter.name for parameter in model.parameters()]
    wide = ExportedNetwork(write_export(tmp_path / "wide", model, source.config, None))
    half = ExportedNetwork(
        write_export(tmp_path / "half", model, source.config, None, precision="bf16")
    )
    assert (wide.precision, half.precision) == ("fp32", "bf16")
    assert {"htc_conv2d", "htc_conv3x3", "htc_mask_logits"} <= set(half.manifest.operators)
    sizes = [network.manifest.files["model.pdiparams"]["bytes"] for network in (wide, half)]
    assert sizes[1] < 0.6 * sizes[0]
    assert [parameter.name for parameter in model.parameters()] == names
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name])
    images, image_sizes = batch([(50, 70), (96, 40)])
    expected, found = wide(images, image_sizes), half(images, image_sizes)
    assert not np.array_equal(found.scores.numpy(), expected.scores.numpy())
    np.testing.assert_allclose(found.scores.numpy(), expected.scores.numpy(), rtol=0, atol=0.05)


def test_the_manifest_says_what_the_program_needs(exported):
    content = json.loads((exported / "export.json").read_text())
    assert content["classes"] == CLASSES
    assert content["preprocessing"]["mean"] == [123.675, 116.28, 103.53]
    assert content["preprocessing"]["short_side"] == 48
    assert content["thresholds"]["max_detections"] == 5
    assert content["versions"]["paddle"] == paddle.__version__
    assert {"htc_roi_align", "htc_nms", "htc_decode_boxes"} <= set(content["operators"])
    assert content["outputs"] == ["boxes", "scores", "labels", "boxes_num", "mask_probs"]
    assert str(exported.parent) not in json.dumps(content)
    assert {path.name for path in exported.iterdir()} == {*content["files"], "export.json"}


def test_a_program_that_answers_otherwise_is_not_written(weights, tmp_path):
    source = open_source(weights)
    model = source.build()

    class Other(paddle.nn.Layer):
        """Stands for a program that Paddle runs wrongly."""

        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, images, image_sizes):
            found = self.model(images, image_sizes)
            if paddle.in_dynamic_mode():
                return found
            return found._replace(scores=found.scores * 0.9)

    with pytest.raises(ExportError, match="does not answer as the network does"):
        write_export(tmp_path / "out", Other(), source.config, None)
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".out*"))


def copy_of(exported, tmp_path):
    return shutil.copytree(exported, tmp_path / "copy")


def change(folder, edit):
    path = folder / "export.json"
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda c: c.update(kind="other"), "does not describe an exported model"),
        (lambda c: c["versions"].update(format=99), "format 99, this one reads format 2"),
        (lambda c: c["versions"].update(paddle="1.8.5"), "exported with Paddle 1.8.5, this is"),
        (lambda c: c.pop("versions"), "no versions"),
        (lambda c: c.pop("outputs"), "is damaged"),
        (lambda c: c["config"].update(num_clases=3), "is damaged"),
        (lambda c: c["operators"].append("htc_unheard_of"), "not installed: htc_unheard_of"),
    ],
)
def test_a_manifest_that_does_not_fit(exported, tmp_path, edit, message):
    folder = copy_of(exported, tmp_path)
    change(folder, edit)
    with pytest.raises(ExportError, match=message):
        ExportedNetwork(folder)


@pytest.mark.parametrize("suffix", [".pdiparams", ".json|.pdmodel"])
def test_damaged_files_are_refused(exported, tmp_path, suffix):
    folder = copy_of(exported, tmp_path)
    manifest = read_manifest(folder)
    (name,) = (n for n in manifest.files if n.endswith(tuple(suffix.split("|"))))
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(ExportError, match=f"{name} is damaged or was changed"):
        ExportedNetwork(folder)
    (folder / name).write_bytes(data[:100])
    with pytest.raises(ExportError, match="got 100 with"):
        ExportedNetwork(folder)
    (folder / name).unlink()
    with pytest.raises(ExportError, match=f"{name} is missing"):
        ExportedNetwork(folder)


def test_a_damaged_manifest_and_no_export_at_all(exported, tmp_path):
    folder = copy_of(exported, tmp_path)
    (folder / "export.json").write_text('{"kind": ')
    with pytest.raises(ExportError, match=r"export\.json is damaged"):
        ExportedNetwork(folder)
    with pytest.raises(ExportError, match=r"found no export\.json"):
        ExportedNetwork(tmp_path)


def test_other_files_are_not_overwritten(weights, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    source = open_source(weights)
    with pytest.raises(ExportError, match="expected a new folder or an earlier export"):
        write_export(tmp_path, source.build(), source.config, None)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_bf16_needs_a_processor_that_has_it(weights, monkeypatch, tmp_path):
    from htc.deploy import network, processor
    from htc_ops import _library

    monkeypatch.setattr(_library, "cpu_target", lambda: "avx512")
    assert not processor.computes_bfloat16()
    with pytest.raises(ValueError, match="'bf16' needs a processor with amx_bf16"):
        htc.Predictor(weights, device="cpu", precision="bf16")
    assert network.choose_precision("auto") == network.choose_precision(None) == "fp32"
    monkeypatch.setattr(_library, "cpu_target", lambda: "avx512_bf16")
    assert network.choose_precision("auto") == "bf16"
    monkeypatch.setenv("HTC_CACHE", str(tmp_path))
    assert htc.Predictor(weights, device="cpu", precision="auto").precision == "bf16"


def test_an_export_has_its_precision(exported, tmp_path, caplog, monkeypatch):
    assert htc.Predictor(exported, device="cpu", precision="auto").precision == "fp32"
    with pytest.raises(ExportError, match="was exported for 'fp32', which 'bf16' is not; export"):
        htc.Predictor(exported, device="cpu", precision="bf16")
    from htc.deploy import network

    folder = copy_of(exported, tmp_path)
    manifest = folder / "export.json"
    manifest.write_text(manifest.read_text().replace('"precision": "fp32"', '"precision": "bf16"'))
    monkeypatch.setattr(network, "computes_bfloat16", lambda: False)
    assert ExportedNetwork(folder).precision == "bf16"
    assert "exported for bf16, which this processor computes slowly" in caplog.text
