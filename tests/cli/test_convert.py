"""python -m htc.convert: there and back, and what it says about mistakes."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from htc.convert import main
from htc.weights import read_weights

ROOT = Path(__file__).resolve().parents[2]
RANDOM = np.random.RandomState(0)
MMDETECTION = {
    "backbone.conv1.weight": RANDOM.randn(4, 3, 7, 7).astype("float32"),
    "backbone.bn1.running_mean": RANDOM.randn(4).astype("float32"),
    "roi_head.bbox_head.0.fc_cls.weight": RANDOM.randn(6, 8).astype("float32"),
    "roi_head.bbox_head.1.fc_cls.weight": RANDOM.randn(6, 8).astype("float16"),
    "roi_head.mask_head.1.conv_res.conv.bias": RANDOM.randn(4).astype("float32"),
}


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "source.npz"
    counter = {"backbone.bn1.num_batches_tracked": np.array(3)}
    np.savez(path, **MMDETECTION, **counter, strange=np.ones(1, "float32"))
    return path


def same(path, expected):
    found, _ = read_weights(path)
    assert set(found) == set(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".pdparams"])
@pytest.mark.parametrize("back", [".safetensors", ".npz"])
def test_there_and_back_is_the_identity(source, tmp_path, suffix, back, capsys):
    ours, theirs = tmp_path / f"ours{suffix}", tmp_path / f"theirs{back}"
    assert main([str(source), str(ours)]) == 0
    out = capsys.readouterr().out
    assert "names of mmdetection" in out and "left out 1 unknown: strange" in out
    logits = MMDETECTION["roi_head.bbox_head.0.fc_cls.weight"]
    found, _ = read_weights(ours)
    np.testing.assert_array_equal(found["box_heads.0.class_logits.weight"], logits.T)
    assert main(["--names", "mmdetection", str(ours), str(theirs)]) == 0
    same(theirs, MMDETECTION)


def test_pytorch_reads_what_it_writes(source, tmp_path):
    """Whoever has the safetensors library gets PyTorch's layout."""
    ours, theirs = tmp_path / "ours.npz", tmp_path / "theirs.safetensors"
    main([str(source), str(ours)])
    main(["--names", "mmdetection", str(ours), str(theirs)])
    loaded = safetensors.numpy.load_file(theirs)
    assert read_weights(theirs)[1] == {"format": "pt", "converted_from": "ours.npz"}
    for name, array in MMDETECTION.items():
        np.testing.assert_array_equal(loaded[name], array)


def test_dtype(source, tmp_path):
    for dtype in ("float16", "float32"):
        main(["--dtype", dtype, str(source), str(tmp_path / "x.npz")])
        found, metadata = read_weights(tmp_path / "x.npz")
        assert {array.dtype.name for array in found.values()} == {dtype}
        assert metadata["format"] == "htc" and metadata["converted_from"] == "source.npz"


def test_a_file_onto_itself(source):
    assert main([str(source), str(source)]) == 0
    assert "backbone.bn1._mean" in read_weights(source)[0]
    assert main(["--names", "mmdetection", str(source), str(source)]) == 0
    same(source, MMDETECTION)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.pth", "x.npz"], "there is no such file"),
        (["source.npz", "x.pth"], "expected DST to end in"),
        (["source.npz", "x"], "got no suffix"),
        (["source.npz", "source.npz/x.npz"], "cannot be written"),
        (["--names", "mmdetection", "source.npz", "x.pdparams"], "written to .npz or .safetensors"),
        (["--ema", "source.npz", "x.npz"], "holds no averaged weights"),
        (["text.pth", "x.npz"], "not a file of weights"),
        (["odd.npz", "x.npz"], "names of no known project"),
        (["source.npz"], "required: DST"),
        (["-o", "num_classes=3", "--", "source.npz", "x.npz"], "give one by -c"),
        (["-c", "htc_r50_fpn_1x", "source.npz", "x.npz"], "did you mean 'htc_r50_fpn_1x_coco'"),
    ],
)
def test_a_mistake_is_one_line_and_code_2(source, arguments, message, monkeypatch, capsys):
    monkeypatch.chdir(source.parent)
    Path("text.pth").write_text("hello")
    np.savez("odd.npz", strange=np.ones(1, "float32"))
    try:
        code = main(arguments)
    except SystemExit as exit:
        code = exit.code
    assert code == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert message in error[-1]
    assert len(error) == 1 or error[0].startswith("usage:")
    assert not Path("x.npz").exists()


def test_how_it_fits_a_configuration(source, tmp_path, capsys):
    pytest.importorskip("paddle")
    arguments = [str(source), str(tmp_path / "x.npz"), "-c", "htc_demo", "-o", "num_classes=5"]
    assert main(arguments) == 2
    assert "nothing in the file fits the model: 5 tensors of another" in capsys.readouterr().err
    np.savez(source, **{"roi_head.bbox_head.0.fc_cls.bias": np.ones(6)})
    assert main(arguments) == 0
    assert "loaded         1 of" in capsys.readouterr().out


def test_as_a_command(source, tmp_path):
    def run(*arguments):
        command = [sys.executable, "-m", "htc.convert", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)

    help_text = run("--help")
    assert help_text.returncode == 0 and "SRC" in help_text.stdout and "DST" in help_text.stdout
    done = run(source, tmp_path / "x.safetensors")
    assert done.returncode == 0 and done.stderr == ""
    failed = run("none.pth", tmp_path / "y.npz")
    assert failed.returncode == 2 and failed.stderr.count("\n") == 1
    assert "Traceback" not in failed.stderr


def test_neither_paddle_nor_torch_is_needed(source, tmp_path):
    program = (
        "import sys\n"
        "sys.modules['paddle'] = sys.modules['torch'] = None\n"
        "from htc.convert import main\n"
        f"sys.exit(main([{str(source)!r}, {str(tmp_path / 'x.npz')!r}]))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
