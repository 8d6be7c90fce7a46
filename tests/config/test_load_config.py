"""Reading configurations: bases, overrides, and what is said about mistakes."""

import dataclasses
import typing

import pytest

from htc.config import (
    Config,
    ConfigError,
    config_from_dict,
    list_configs,
    load_config,
    to_dict,
    to_yaml,
)


def write(folder, name, text):
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", list_configs())
@pytest.mark.parametrize("comments", [False, True])
def test_every_shipped_config_reads_back_identically(name, comments, tmp_path):
    config = load_config(name)
    path = write(tmp_path, "dump.yml", to_yaml(config, comments))
    assert load_config(path) == config
    assert config_from_dict(to_dict(config)) == config
    assert config.name == name


def test_read_back_keeps_awkward_values(tmp_path):
    overrides = [
        "name='3: # not a comment'",
        "weights='null'",
        "data.root='ünïcode {dir}, [x]'",
        "train.weight_decay=1e-5",
        "model.rpn.smooth_l1_beta=0.1111111111111111",
        "train.steps=[]",
    ]
    config = load_config("htc_demo", overrides)
    assert config.weights == "null"
    assert config.train.steps == ()
    assert load_config(write(tmp_path, "dump.yml", to_yaml(config))) == config


def test_without_a_name_it_is_the_demo():
    assert load_config() == load_config("htc_demo")


def test_shipped_configs_cover_the_published_table():
    published = {
        "htc_r50_fpn_1x_coco": (50, 1, (), 12),
        "htc_r50_fpn_20e_coco": (50, 1, (), 20),
        "htc_r101_fpn_20e_coco": (101, 1, (), 20),
        "htc_x101_32x4d_fpn_20e_coco": (101, 32, (), 20),
        "htc_x101_64x4d_fpn_20e_coco": (101, 64, (), 20),
        "htc_x101_64x4d_fpn_dcn_c3_c5_mstrain_20e_coco": (101, 64, (2, 3, 4), 20),
    }
    for name, (depth, groups, deformable, epochs) in published.items():
        config = load_config(name)
        backbone = config.model.backbone
        assert (backbone.depth, backbone.groups, backbone.deformable_stages) == (
            depth,
            groups,
            deformable,
        )
        assert backbone.width_per_group == (4 if groups > 1 else 64)
        assert config.train.epochs == epochs
        assert config.model.semantic.enabled
        without = load_config(name.replace("htc_", "htc_without_semantic_"))
        assert not without.model.semantic.enabled
        assert without.data.train.semantic is None
        without.model.semantic.enabled = True
        assert without.model == config.model


def test_ablations_are_parts_switched_off():
    htc = load_config("htc_without_semantic_r50_fpn_1x_coco").model
    cascade = load_config("cascade_mask_rcnn_r50_fpn_1x_coco").model
    mask = load_config("mask_rcnn_r50_fpn_1x_coco").model
    assert not cascade.cascade.interleaved and not cascade.cascade.mask_info_flow
    assert cascade.cascade.stages == htc.cascade.stages
    assert len(mask.cascade.stages) == 1 and not mask.box_head.class_agnostic


def test_base_merges_by_key_and_replaces_lists(tmp_path):
    write(tmp_path, "a.yml", "num_classes: 3\nmodel:\n  anchors: {scale: 4, ratios: [1, 2]}\n")
    write(tmp_path, "b.yml", "num_classes: 4\n")
    path = write(tmp_path, "c.yml", "_BASE_: [a.yml, b.yml]\nmodel:\n  anchors:\n    ratios: [1]\n")
    config = load_config(path)
    assert config.num_classes == 4
    assert config.model.anchors.scale == 4.0
    assert config.model.anchors.ratios == (1.0,)
    assert config.name == "c"


def test_base_by_shipped_name(tmp_path):
    path = write(tmp_path, "mine.yml", "_BASE_: htc_r101_fpn_20e_coco\nnum_classes: 7\n")
    config = load_config(path)
    assert (config.model.backbone.depth, config.num_classes) == (101, 7)


def test_base_circle_is_refused(tmp_path):
    write(tmp_path, "a.yml", "_BASE_: b.yml\n")
    path = write(tmp_path, "b.yml", "_BASE_: a.yml\n")
    with pytest.raises(ConfigError, match=r"circle: b\.yml -> a\.yml -> b\.yml"):
        load_config(path)


def test_missing_base_names_file_and_line(tmp_path):
    path = write(tmp_path, "a.yml", "num_classes: 3\n_BASE_: nowhere.yml\n")
    with pytest.raises(ConfigError, match=r"a\.yml:2: _BASE_: config: 'nowhere.yml'"):
        load_config(path)


def test_overrides_are_yaml_values():
    config = load_config(
        "htc_r50_fpn_1x_coco",
        [
            "num_classes=5",
            "num_classes=6",
            "data.root=../shared/data/coco100",
            "train.learning_rate=1e-3",
            "train.steps=[3, 4]",
            "model.semantic.fusion=[mask]",
            "model.cascade.stages.1.iou_threshold=0.65",
            "model.mask_head.enabled=no",
            "eval.metrics=[box]",
            "eval.best=box",
            "data.train.semantic=",
            "weights=a=b.pth",
        ],
    )
    assert config.num_classes == 6
    assert config.data.root == "../shared/data/coco100"
    assert config.train.learning_rate == 1e-3
    assert config.train.steps == (3, 4)
    assert config.model.semantic.fusion == ("mask",)
    assert [stage.iou_threshold for stage in config.model.cascade.stages] == [0.5, 0.65, 0.7]
    assert config.model.cascade.stages[1].delta_stds == (0.05, 0.05, 0.1, 0.1)
    assert not config.model.mask_head.enabled
    assert config.data.train.semantic is None
    assert config.weights == "a=b.pth"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.backbone.dept=3", "did you mean 'model.backbone.depth'"),
        ("numclasses=3", "did you mean 'num_classes'"),
        ("backbone.depth=50", "did you mean 'model.backbone'"),
        ("model.lr=1", "unknown key 'model.lr'"),
        ("learning_rate=1", "did you mean 'train.learning_rate'"),
        ("model.cascade.stages=[{iou: 1}]", "did you mean 'model.cascade.stages.0.iou_threshold'"),
        ("num_classes=0", "num_classes: expected at least 1, got 0"),
        ("num_classes=five", "num_classes: expected a whole number, got 'five'"),
        ("num_classes=true", "num_classes: expected a whole number, got True"),
        ("num_classes=2.5", "num_classes: expected a whole number, got 2.5"),
        ("num_classes=", r"num_classes: expected a whole number, got nothing \(null\)"),
        ("train.learning_rate=.nan", "train.learning_rate: expected a finite number, got nan"),
        ("train.amp=1", "train.amp: expected true or false, got 1"),
        ("train.steps=3", "train.steps: expected a list of whole numbers, got 3"),
        ("train.steps=[a]", r"train.steps.0: expected a whole number, got 'a'"),
        ("train.steps=[11, 8]", r"train.steps: expected rising epochs, got \[11, 8\]"),
        ("data.mean=[1,2]", "data.mean: expected 3 values, got 2"),
        ("weights={a: 1}", "weights: expected text, got keys and values"),
        ("model=3", "model: expected keys and values .*got 3"),
        ("model.semantic.fusion=[boxes]", "expected one of box, mask, got 'boxes'; .*'box'"),
        ("model.cascade.stages.3.loss_weight=1", "has 3 items, 0 to 2; got 3"),
        ("model.cascade.stages=[]", "expected at least one stage"),
        ("num_classes.0=1", "num_classes is not a list"),
        ("model.backbone.frozen_stages=5", "expected at most 4, got 5"),
        ("model.backbone.groups=32", "model.backbone.groups needs bottleneck blocks"),
        ("model.mask_head.channels=7", r"model.mask_head.channels: .*expected \d+ .*got 7"),
        ("model.semantic.channels=7", r"model.semantic.channels: .*expected \d+ .*got 7"),
        ("num_classes", "expected key=value"),
        ("=3", "expected key=value"),
        ("data.root=[a", "not valid YAML"),
        ("data.root=!!python/object/apply:os.system [x]", "not valid YAML"),
    ],
)
def test_mistaken_override_is_one_clear_line(override, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load_config("htc_demo", [override])
    assert "\n" not in str(caught.value)
    key, value = override.partition("=")[::2]
    assert str(caught.value).startswith((f"-o {key}={value}".rstrip(), f"-o {key}", "htc_demo: "))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("num_classes: 3\nmodel:\n  backbone:\n    dept: 50\n", r"x\.yml:4: unknown key"),
        ("num_classes: 3\nnum_classes: 4\n", r"x\.yml:2: key 'num_classes' is given twice"),
        (
            "model:\n  fpn:\n    channels: wide\n",
            r"x\.yml:3: model\.fpn\.channels: expected a whole",
        ),
        ("train:\n  steps:\n  - 1\n  - b\n", r"x\.yml:4: train\.steps\.1: expected a whole"),
        ("model:\n  cascade:\n    stages:\n    - {x: 1}\n", r"x\.yml:4: unknown key"),
        ("- 1\n", r"x\.yml:1: expected keys and values, got list"),
        ("a: [1\nb: 2\n", r"x\.yml:2: not valid YAML"),
        ("1: 2\n", r"x\.yml:1: keys are words, got 1"),
        ("data: &a\n  root: *a\n", r"an alias"),
        ("model:\n", r"x\.yml:1: model: expected keys and values .*got nothing"),
    ],
)
def test_mistaken_file_names_file_and_line(text, message, tmp_path):
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(write(tmp_path, "x.yml", text))
    assert "\n" not in str(caught.value)


def test_mistake_in_a_base_names_the_base(tmp_path):
    write(tmp_path, "base.yml", "num_clases: 3\n")
    path = write(tmp_path, "x.yml", "_BASE_: base.yml\n")
    with pytest.raises(ConfigError, match=r"base\.yml:1: unknown key 'num_clases'"):
        load_config(path)


def test_unknown_name_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'htc_r50_fpn_1x_coco'"):
        load_config("htc_r50_fpn_1x")


def test_a_folder_or_binary_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="folder"):
        load_config(tmp_path)
    path = tmp_path / "x.yml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read as text"):
        load_config(path)


def test_overrides_as_one_string_is_a_type_error():
    with pytest.raises(TypeError, match="overrides: expected a list"):
        load_config("htc_demo", "num_classes=5")


def _all_fields(cls):
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        yield cls, field
        for candidate in (hints[field.name], *typing.get_args(hints[field.name])):
            if dataclasses.is_dataclass(candidate):
                yield from _all_fields(candidate)


def test_every_key_is_documented_and_printed():
    printed = to_yaml(load_config("htc_demo"), comments=True)
    for cls, field in _all_fields(Config):
        assert field.metadata.get("doc"), f"{cls.__name__}.{field.name} has no documentation"
        if cls.__name__ != "StageConfig":  # a stage prints as one line
            assert f"# {field.metadata['doc']}" in printed
