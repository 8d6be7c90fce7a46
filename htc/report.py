"""What a run leaves for people to look at: curves, overlays, one page."""

from __future__ import annotations

import base64
import html
from pathlib import Path

from htc.checkpoint import atomic_path
from htc.engine.overlays import write_overlays
from htc.engine.progress import METRICS, format_seconds, read_metrics

CURVES, REPORT, OVERLAYS = "curves.png", "report.html", "overlays"

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 1100px; padding: 0 1em }
table { border-collapse: collapse } td, th { padding: .2em .9em; text-align: right }
th:first-child, td:first-child { text-align: left } tr { border-bottom: 1px solid #ddd }
img { max-width: 100% } figure { display: inline-block; margin: .3em } figcaption { color: #666 }
pre { background: #f5f5f5; padding: 1em; overflow-x: auto; font-size: 12px }
"""


def write_report(trainer, seconds: float) -> Path:
    """curves.png, overlays/ and report.html in the run folder; the page needs no other file.

    Args:
        trainer: after training.
        seconds: that the command took.
    """
    run, evaluation = trainer.run, trainer.evaluation
    entries = read_metrics(run / METRICS)
    plot_curves(entries, run / CURVES)
    overlays = []
    if evaluation is not None:
        overlays = write_overlays(trainer.val, evaluation.examples, run / OVERLAYS)
    parts = [f"<h1>{html.escape(trainer.config.name)}</h1>", _summary(trainer, entries, seconds)]
    if evaluation is not None:
        parts += ["<h2>Average precision</h2>", _ap_table(evaluation)]
    parts += ["<h2>Curves</h2>", _picture(run / CURVES)]
    if overlays:
        parts.append(
            f"<h2>Ground truth (left) and predictions (right)</h2><p>The first {len(overlays)}"
            " pictures of the validation data, in their order; every prediction with a score of"
            " 0.5 or more. An object has one colour on both sides.</p>"
        )
        parts += [_picture(path, path.stem) for path in overlays]
    config = (run / "config.yml").read_text()
    parts.append(f"<h2>Configuration</h2><details><pre>{html.escape(config)}</pre></details>")
    page = (
        f"<!doctype html><meta charset=utf-8><title>{html.escape(trainer.config.name)}</title>"
        f"<style>{_STYLE}</style>" + "\n".join(parts)
    )
    with atomic_path(run / REPORT) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return run / REPORT


def plot_curves(entries: list[dict], path: Path) -> None:
    """Losses, learning rate and AP over the steps, as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    train = [entry for entry in entries if entry["kind"] == "train"]
    evals = [entry for entry in entries if entry["kind"] == "eval"]
    # Not by pyplot: it would choose a window system and keep the figure.
    figure = Figure(figsize=(13, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    loss, rate, ap = figure.subplots(1, 3, width_ratios=(1.5, 1, 1))
    steps = [entry["step"] for entry in train]
    for name in [name for name in (train[-1] if train else {}) if name.startswith("loss")]:
        values = [entry.get(name, float("nan")) for entry in train]
        loss.plot(steps, values, label=name.removeprefix("loss_"), **_style(name))
    loss.set(title="loss", xlabel="step", yscale="log")
    if train:
        smallest = min(entry["loss"] for entry in train)
        loss.set_ylim(bottom=smallest * 2e-3)  # a stage without positives is near 0 for a while
        loss.legend(fontsize=7, ncols=5, loc="upper center", bbox_to_anchor=(0.5, -0.12))
    rate.plot(steps, [entry["learning_rate"] for entry in train])
    rate.set(title="learning rate", xlabel="step")
    for metric in ("box", "mask"):
        values = [entry.get(f"{metric}_AP") for entry in evals]
        if any(value is not None for value in values):
            ap.plot([entry["step"] for entry in evals], values, "o-", label=f"{metric} AP")
            ap.legend()
    ap.set(title="average precision", xlabel="step", ylim=(0, 1))
    for axes in (loss, rate, ap):
        axes.grid(alpha=0.3)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100)


def _style(name: str) -> dict:
    """How a loss is drawn: its part's colour, its stage's kind of line."""
    if name == "loss":
        return {"color": "black", "linewidth": 2}
    part, _, stage = name.removeprefix("loss_").partition("_stage")
    parts = ("rpn_cls", "rpn_reg", "semantic", "bbox_cls", "bbox_reg", "mask")
    colour = f"C{parts.index(part)}" if part in parts else "grey"
    return {"color": colour, "linewidth": 1.1, "linestyle": ["-", "--", ":"][int(stage or 0) % 3]}


def _summary(trainer, entries: list[dict], seconds: float) -> str:
    position = trainer.position
    train = [entry for entry in entries if entry["kind"] == "train"]
    rows = {
        "training pictures": len(trainer.dataset),
        "epochs, steps": f"{position.epoch}, {position.step}",
        "pictures a step": trainer.pictures_per_step,
        "time of this command": format_seconds(seconds),
    }
    if trainer.evaluation is not None:
        rows["pictures evaluated"] = len(trainer.val)
        rows["seconds a picture, evaluation"] = f"{trainer.evaluation.seconds_per_picture:.3f}"
    if train:
        rows["training pictures a second"] = f"{train[-1]['ips'] * trainer.world:.1f}"
    if position.best is not None:
        best = f"{position.best:.4f} (epoch {position.best_epoch})"
        rows[f"best {trainer.config.eval.best} AP"] = best
    cells = "".join(f"<tr><td>{k}</td><td>{html.escape(str(v))}</td></tr>" for k, v in rows.items())
    return f"<table>{cells}</table>"


def _ap_table(evaluation) -> str:
    names = ("AP", "AP50", "AP75", "APs", "APm", "APl")
    head = "".join(f"<th>{name}</th>" for name in ("", *names))
    rows = []
    for metric, classes in evaluation.per_class.items():
        values = "".join(f"<td>{_show(evaluation.metrics[f'{metric}_{n}'])}</td>" for n in names)
        rows.append(f"<tr><th>{metric}</th>{values}</tr>")
        for name, value in list(classes.items())[:20]:
            rows.append(f"<tr><td>{metric}, {html.escape(name)}</td><td>{_show(value)}</td></tr>")
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>"


def _show(value: float) -> str:
    return f"{value:.3f}" if value >= 0 else "-"  # -1: there are no such objects


def _picture(path: Path, caption: str = "") -> str:
    kind = "png" if path.suffix == ".png" else "jpeg"
    data = base64.b64encode(path.read_bytes()).decode()
    image = f'<img src="data:image/{kind};base64,{data}" alt="{html.escape(path.name)}">'
    return f"<figure>{image}<figcaption>{html.escape(caption)}</figcaption></figure>"
