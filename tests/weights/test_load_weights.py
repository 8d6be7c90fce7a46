"""Loading into a model: what is reported, what is refused, and that errors change nothing."""

import json
import logging

import numpy as np
import pytest

import htc
from htc.checkpoint import model_arrays, save_weights
from htc.weights import WeightError, load_weights, write_weights
from htc.weights.translating import to_mmdetection

paddle = pytest.importorskip("paddle")

SMALL = [
    "num_classes=5",
    "num_semantic_classes=9",
    "model.backbone.width=8",
    "model.fpn.channels=8",
    "model.rpn.channels=8",
    "model.semantic.channels=8",
    "model.box_head.channels=16",
    "model.mask_head.channels=8",
]


def small_model(*overrides, depth=18):
    paddle.seed(0)
    overrides = [f"model.backbone.depth={depth}", *SMALL, *overrides]
    return htc.build_model(htc.load_config("htc_demo", overrides))


def random_arrays(model, seed=3):
    random = np.random.RandomState(seed)
    return {k: random.rand(*v.shape).astype("float32") for k, v in model_arrays(model).items()}


def assert_holds(model, arrays):
    found = model_arrays(model)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


@pytest.fixture(scope="module")
def model():
    return small_model()


@pytest.fixture
def before(model):
    return model_arrays(model)


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".pdparams"])
def test_ours_in_every_format(model, tmp_path, suffix):
    arrays = random_arrays(model)
    path = tmp_path / f"x{suffix}"
    write_weights(path, arrays)
    report = load_weights(model, path)
    assert report.complete and not report.unexpected and not report.notes
    assert set(report.loaded) == set(arrays)
    assert_holds(model, arrays)


def test_save_weights_and_load_weights(model, tmp_path):
    save_weights(tmp_path / "x.safetensors", model, {"epoch": "3"})
    other = small_model()
    load_weights(other, tmp_path / "x.safetensors")
    assert_holds(other, model_arrays(model))
    with pytest.raises(ValueError, match=r"expected a file ending in \.safetensors"):
        save_weights(tmp_path / "x.pth", model)


def test_mmdetection_checkpoint(model, tools, form, tmp_path):
    arrays = random_arrays(model)
    file = tools.TorchFile()
    state = {name: file.tensor(array) for name, array in to_mmdetection(arrays).items()}
    state["backbone.bn1.num_batches_tracked"] = file.tensor(np.array(3, "int64"))
    path = file.write(form, tmp_path / "x.pth", {"meta": {"epoch": 12}, "state_dict": state})
    report = htc.load_weights(model, path)
    assert report.complete and not report.unexpected
    assert report.ignored == ["backbone.bn1.num_batches_tracked"]
    assert_holds(model, arrays)


def test_deformable_convolutions_are_loaded(tmp_path):
    model = small_model("model.backbone.deformable_stages=[2, 3, 4]", depth=50)
    arrays = random_arrays(model)
    assert any(".offset." in name for name in arrays)
    write_weights(tmp_path / "x.npz", to_mmdetection(arrays))
    assert load_weights(model, tmp_path / "x.npz").complete
    assert_holds(model, arrays)


def test_mask_rcnn_and_cascade(tmp_path):
    for name in ("mask_rcnn_r50_fpn_1x_coco", "cascade_mask_rcnn_r50_fpn_1x_coco"):
        model = htc.build_model(htc.load_config(name, [*SMALL, "num_classes=3"]))
        arrays = random_arrays(model)
        path = tmp_path / f"{name}.npz"
        write_weights(path, to_mmdetection(arrays))
        with np.load(path) as stored:
            staged = "roi_head.bbox_head.0.fc_cls.weight" in stored.files
        assert staged == name.startswith("cascade")
        assert load_weights(model, path).complete
        assert_holds(model, arrays)


PRESETS = {
    "tiny": ["model.backbone.depth=18"],
    "tinyb": ["model.backbone.width=16"],
    "r50": ["num_classes=80", "num_semantic_classes=183"],
}


@pytest.mark.parametrize("preset", list(PRESETS))
def test_reference_parameters_are_exactly_the_models(shared, tmp_path, preset):
    overrides = ["num_classes=5", "num_semantic_classes=7", *PRESETS[preset]]
    if preset != "r50":
        overrides += [
            f"model.{part}.channels=64" for part in ("fpn", "rpn", "semantic", "mask_head")
        ]
        overrides.append("model.box_head.channels=128")
    shapes = json.loads((shared / "reference" / "shapes.json").read_text())[preset]
    weights = {name: np.full(shape, i, "float32") for i, (name, shape) in enumerate(shapes)}
    model = htc.build_model(htc.load_config("htc_r50_fpn_1x_coco", overrides))
    np.savez(tmp_path / "x.npz", **weights)
    report = load_weights(model, tmp_path / "x.npz")
    assert report.complete and not report.unexpected
    assert len(report.loaded) == len(weights)
    back = to_mmdetection(model_arrays(model))
    assert set(back) == set(weights)
    for name, array in weights.items():
        np.testing.assert_array_equal(back[name], array)


def test_another_number_of_classes_loads_the_rest(model, before, tmp_path):
    other = small_model("num_classes=7", "num_semantic_classes=4")
    arrays = random_arrays(other)
    write_weights(tmp_path / "x.npz", arrays)
    report = load_weights(model, tmp_path / "x.npz")
    mismatched = {mismatch.name for mismatch in report.mismatched}
    heads = {f"box_heads.{t}.class_logits" for t in range(3)}
    heads |= {f"mask_heads.{t}.logits" for t in range(3)} | {"semantic_head.logits"}
    assert mismatched == {f"{head}.{leaf}" for head in heads for leaf in ("weight", "bias")}
    assert not report.complete and not report.missing and not report.unexpected
    assert any("7 classes in the file, 5 here" in note for note in report.notes)
    assert any("4 semantic classes in the file, 9 here" in note for note in report.notes)
    assert_holds(model, {k: v for k, v in arrays.items() if k not in mismatched})
    assert_holds(model, {k: v for k, v in before.items() if k in mismatched})


def test_missing_and_unexpected_are_listed(model, before, tmp_path):
    arrays = random_arrays(model)
    removed = {name: arrays.pop(name) for name in list(arrays) if name.startswith("rpn.")}
    arrays["mask_heads.9.logits.bias"] = arrays["rpn_extra"] = np.ones(3, "float32")
    write_weights(tmp_path / "x.npz", arrays)
    report = load_weights(model, tmp_path / "x.npz")
    assert sorted(report.missing) == sorted(removed)
    assert sorted(report.unexpected) == ["mask_heads.9.logits.bias", "rpn_extra"]
    assert_holds(model, {name: before[name] for name in removed})
    text = str(report)
    assert "missing        6  rpn.* (6)" in text
    assert "unexpected     2  rpn_extra, mask_heads.9.logits.bias" in text


def test_report_is_logged(model, tmp_path, caplog):
    write_weights(tmp_path / "x.npz", random_arrays(model))
    with caplog.at_level(logging.INFO, logger="htc"):
        report = load_weights(model, tmp_path / "x.npz")
    assert str(report) in caplog.text
    assert f"loaded     {len(report.loaded):5d} of {len(report.loaded)}" in caplog.text


def test_nothing_that_fits_is_an_error(model, before, tmp_path):
    write_weights(tmp_path / "x.npz", {"rpn.conv.weight": np.ones((1, 2), "float32")})
    with pytest.raises(WeightError, match=r"1 tensors of another shape, first rpn\.conv\.weight"):
        load_weights(model, tmp_path / "x.npz")
    write_weights(tmp_path / "x.npz", {"mask_heads.9.flow.bias": np.ones(3)})
    with pytest.raises(WeightError, match=r"has none of its names, first mask_heads\.9"):
        load_weights(model, tmp_path / "x.npz")
    assert_holds(model, before)


def test_damage_in_the_last_tensor_leaves_the_model_untouched(model, before, tools, tmp_path):
    arrays = random_arrays(model)
    file = tools.TorchFile()
    state = {name: file.tensor(array) for name, array in to_mmdetection(arrays).items()}
    path = file.write_zip(tmp_path / "x.pth", state)
    raw = bytearray(path.read_bytes())
    last = list(file.storages.values())[-1].tobytes()
    raw[raw.rindex(last)] ^= 1
    path.write_bytes(raw)
    with pytest.raises(WeightError, match="checksum"):
        load_weights(model, path)
    assert_holds(model, before)


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_values_get_the_parameters_type(model, tmp_path, dtype):
    arrays = random_arrays(model)
    write_weights(tmp_path / "x.npz", arrays)
    layer = paddle.nn.Layer()
    layer.rpn = paddle.nn.Layer()
    layer.rpn.conv = paddle.nn.Conv2D(8, 8, 3)
    layer.to(dtype=dtype)
    load_weights(layer, tmp_path / "x.npz")
    weight = layer.rpn.conv.weight
    assert str(weight.dtype).endswith(dtype)
    expected = arrays["rpn.conv.weight"]
    tolerance = {"float64": 0, "float16": 1e-3, "bfloat16": 8e-3}[dtype]
    np.testing.assert_allclose(weight.astype("float32").numpy(), expected, rtol=tolerance)


def test_half_precision_file(model, tmp_path):
    arrays = {name: array.astype("float16") for name, array in random_arrays(model).items()}
    write_weights(tmp_path / "x.safetensors", arrays)
    assert load_weights(model, tmp_path / "x.safetensors").complete
    assert_holds(model, arrays)


def test_values_that_are_not_finite_are_noted(model, tmp_path):
    arrays = random_arrays(model)
    arrays["rpn.conv.bias"][0] = np.nan
    write_weights(tmp_path / "x.npz", arrays)
    notes = load_weights(model, tmp_path / "x.npz").notes
    assert any("not finite in 1 tensors, such as rpn.conv.bias" in note for note in notes)


def _resnet_file(model, path):
    """The model's backbone as torchvision would save it, with a classifier."""
    arrays = to_mmdetection(random_arrays(model))
    arrays = {k.removeprefix("backbone."): v for k, v in arrays.items() if "backbone." in k}
    arrays["fc.weight"], arrays["fc.bias"] = np.ones((10, 8), "float32"), np.ones(10, "float32")
    np.savez(path, **arrays)
    return path


def test_torchvision_backbone(tmp_path):
    model = small_model(depth=50)
    report = load_weights(model, _resnet_file(model, tmp_path / "x.npz"))
    assert report.source == "NumPy, names of torchvision/timm ResNet"
    assert all(name.startswith("backbone.") for name in report.loaded)
    assert not any(name.startswith("backbone.") for name in report.missing)
    assert report.ignored == ["fc.weight", "fc.bias"]
    assert report.notes == ["the backbone alone was loaded: the rest must be trained"]


def test_torchvision_backbone_in_a_model_with_the_other_stride(tmp_path):
    model = small_model("model.backbone.stride_in_1x1=true", depth=50)
    notes = load_weights(model, _resnet_file(model, tmp_path / "x.npz")).notes
    assert any("set model.backbone.stride_in_1x1=false" in note for note in notes)


@pytest.mark.parametrize("stride_in_1x1", [True, False])
def test_pretrained_backbone_says_where_its_stride_lies(shared, stride_in_1x1):
    path = shared / "weights" / "resnet50_imagenet_rgb_fp16_nofc.npz"
    overrides = [f"model.backbone.stride_in_1x1={str(stride_in_1x1).lower()}", "num_classes=3"]
    model = htc.build_model(htc.load_config("htc_r50_fpn_1x_coco", overrides))
    report = load_weights(model, path)
    assert len(report.loaded) == 265 and not report.mismatched
    asks = [note for note in report.notes if "set model.backbone.stride_in_1x1=true" in note]
    assert bool(asks) == (not stride_in_1x1)
    with np.load(path) as stored:
        np.testing.assert_array_equal(
            model.backbone.conv1.weight.numpy(), stored["conv1.weight"].astype("float32")
        )


def test_bgr_and_caffe_style_are_noted(tools, tmp_path):
    model = small_model(depth=50)
    file = tools.TorchFile()
    arrays = to_mmdetection(random_arrays(model))
    state = {name: file.tensor(array) for name, array in arrays.items()}
    config = "img_norm_cfg = dict(to_rgb=False)\nbackbone=dict(style='caffe')"
    objects = {"meta": {"config": config}, "state_dict": state}
    notes = load_weights(model, file.write_zip(tmp_path / "x.pth", objects)).notes
    assert any("BGR" in note for note in notes)
    assert any("set model.backbone.stride_in_1x1=true" in note for note in notes)
