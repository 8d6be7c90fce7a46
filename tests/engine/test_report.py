"""The curves of the report."""

from PIL import Image

from htc.report import _style, plot_curves

LOSSES = ["loss_rpn_cls", "loss_rpn_reg", "loss_semantic", "loss"] + [
    f"loss_{part}_stage{t}" for t in range(3) for part in ("bbox_cls", "bbox_reg", "mask")
]


def entries(steps):
    for step in steps:
        losses = {name: 1 / step for name in LOSSES}
        yield {"kind": "train", "step": step, "learning_rate": 0.1, **losses}
    yield {"kind": "eval", "step": step, "box_AP": 0.25, "mask_AP": 0.125}


def test_every_loss_has_a_look_of_its_own():
    looks = {tuple(sorted(_style(name).items())) for name in LOSSES}
    assert len(looks) == len(LOSSES)
    assert _style("loss_of_another_model")["color"] == "grey"


def test_curves_of_a_run_and_of_one_that_logged_nothing(tmp_path):
    for name, content in (("run", list(entries((1, 2, 3)))), ("nothing", [])):
        plot_curves(content, tmp_path / f"{name}.png")
        width, height = Image.open(tmp_path / f"{name}.png").size
        assert width > 1000 and height > 400
    assert not list(tmp_path.glob("*tmp*"))


def test_an_evaluation_without_masks_and_a_loss_that_began_later_can_be_drawn(tmp_path):
    content = list(entries((1, 2)))
    del content[0]["loss_semantic"], content[-1]["mask_AP"]
    plot_curves(content, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 1000
