"""Paddle's pickles, .npz, .safetensors, and files that are none of these."""

import json
import pickle
import struct

import numpy as np
import pytest
import safetensors.numpy

from htc.weights import WeightError, open_weights, read_weights, write_weights

RANDOM = np.random.RandomState(0)
ARRAYS = {
    "a.weight": RANDOM.randn(3, 4).astype("float32"),
    "b.half": RANDOM.randn(2, 2).astype("float16"),
    "c.count": np.array(7, "int64"),
    "d.empty": np.zeros((0, 3), "float32"),
    "e.double": RANDOM.randn(2, 3, 1).astype("float64"),
}


def same(found, expected):
    assert set(found) == set(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype, name
        assert found[name].shape == array.shape, name
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("with_table", [False, True])
def test_pdparams_is_a_pickle_of_arrays(tmp_path, protocol, with_table):
    state = dict(ARRAYS)
    if with_table:
        state["StructuredToParameterName@@"] = {name: f"p_{name}" for name in ARRAYS}
    path = tmp_path / "x.pdparams"
    path.write_bytes(pickle.dumps(state, protocol))
    same(read_weights(path)[0], ARRAYS)


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_arrays_in_fortran_order_and_foreign_byte_order(tmp_path, protocol):
    path = tmp_path / "x.pdparams"
    state = {"f": np.asfortranarray(ARRAYS["a.weight"]), "b": ARRAYS["a.weight"].astype(">f4")}
    path.write_bytes(pickle.dumps(state, protocol))
    arrays, _ = read_weights(path)
    for array in arrays.values():
        np.testing.assert_array_equal(array, ARRAYS["a.weight"])
        assert array.dtype == np.float32 and array.flags.c_contiguous


def test_pdparams_with_arrays_in_pieces(tmp_path):
    whole = RANDOM.randn(4, 5).astype("float32")
    flat = whole.ravel()
    state = {
        "w@@.0": flat[:12],
        "w@@.1": flat[12:],
        "small": flat[:3],
        "UnpackBigParamInfor@@": {
            "w": {"OriginShape": np.array([4, 5]), "slices": ["w@@.0", "w@@.1"]}
        },
    }
    path = tmp_path / "x.pdparams"
    path.write_bytes(pickle.dumps(state, 2))
    same(read_weights(path)[0], {"w": whole, "small": flat[:3]})
    state["UnpackBigParamInfor@@"]["w"]["OriginShape"] = (4, 6)
    path.write_bytes(pickle.dumps(state, 2))
    with pytest.raises(WeightError, match="the pieces of 'w' do not fit"):
        read_weights(path)


def test_what_paddle_saves_is_read_and_what_is_written_paddle_loads(tmp_path):
    paddle = pytest.importorskip("paddle")
    layer = paddle.nn.Sequential(paddle.nn.Conv2D(3, 4, 1), paddle.nn.BatchNorm2D(4))
    expected = {name: tensor.numpy() for name, tensor in layer.state_dict().items()}
    for protocol in (2, 4):
        path = tmp_path / f"x{protocol}.pdparams"
        paddle.save(layer.state_dict(), str(path), protocol=protocol)
        same(read_weights(path)[0], expected)
    nested = tmp_path / "nested.pdparams"
    paddle.save({"model": layer.state_dict(), "epoch": 3}, str(nested))
    same(read_weights(nested)[0], expected)
    written = tmp_path / "written.pdparams"
    write_weights(written, expected)
    loaded = paddle.load(str(written))
    assert all(isinstance(loaded[name], paddle.Tensor) for name in expected)
    same({name: loaded[name].numpy() for name in expected}, expected)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz(tmp_path, save):
    path = tmp_path / "x.npz"
    save(path, **ARRAYS, fortran=np.asfortranarray(ARRAYS["a.weight"]))
    same(read_weights(path)[0], {**ARRAYS, "fortran": ARRAYS["a.weight"]})


def test_npz_of_objects_is_refused(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, a=np.array([{"x": 1}], dtype=object))
    with pytest.raises(WeightError, match=r"'a\.npy' has type .*not weights"):
        read_weights(path)


def test_safetensors_as_its_own_library_writes_it(tmp_path):
    path = tmp_path / "x.safetensors"
    safetensors.numpy.save_file(ARRAYS, path, {"note": "x"})
    found, metadata = read_weights(path)
    same(found, ARRAYS)
    assert metadata == {"note": "x"}


def _safetensors(table, values=b""):
    text = json.dumps(table).encode()
    return struct.pack("<Q", len(text)) + text + values


def test_safetensors_bfloat16(tmp_path):
    path = tmp_path / "x.safetensors"
    expected = np.array([1.5, -0.0, 2.0**100], "float32")
    bits = (expected.view("uint32") >> 16).astype("uint16")
    entry = {"dtype": "BF16", "shape": [3], "data_offsets": [0, 6]}
    path.write_bytes(_safetensors({"w": entry}, bits.tobytes()))
    same(read_weights(path)[0], {"w": expected})


@pytest.mark.parametrize(
    "change",
    [
        {"shape": [2**40]},
        {"shape": [-3]},
        {"shape": "abc"},
        {"data_offsets": [0, 2**40]},
        {"data_offsets": [-12, 0]},
        {"data_offsets": [0]},
        {"data_offsets": [0.0, 12.0]},
        {"dtype": "F8_E4M3"},
        {"dtype": ["F32"]},
    ],
)
def test_safetensors_that_lies_is_refused(tmp_path, change):
    path = tmp_path / "x.safetensors"
    entry = {"dtype": "F32", "shape": [3], "data_offsets": [0, 12], **change}
    path.write_bytes(_safetensors({"w": entry}, bytes(12)))
    with pytest.raises(WeightError, match="safetensors"):
        read_weights(path)


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".pdparams"])
def test_written_files_read_back(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    write_weights(path, ARRAYS, {"epoch": "3", "config": "name: ü\n"})
    found, metadata = read_weights(path)
    same(found, ARRAYS)
    if suffix != ".pdparams":
        assert metadata == {"epoch": "3", "config": "name: ü\n"}
    assert [item.name for item in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".pdparams"])
def test_truncation_anywhere_is_one_clear_error(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    write_weights(path, {"w": ARRAYS["a.weight"], "v": ARRAYS["b.half"]})
    whole = path.read_bytes()
    for length in range(1, len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(WeightError) as caught:
            read_weights(path)
        assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".pdparams"])
def test_damaged_bytes_never_do_worse_than_an_error(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    write_weights(path, {"w": ARRAYS["a.weight"], "v": ARRAYS["b.half"]})
    whole = path.read_bytes()
    random = np.random.RandomState(1)
    errors = 0
    for _ in range(1000):
        damaged = bytearray(whole)
        for position in random.randint(0, len(whole), random.randint(1, 4)):
            damaged[position] = random.randint(256)
        path.write_bytes(damaged)
        try:
            read_weights(path)
        except WeightError:
            errors += 1
    assert errors > 200


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"", "the file is empty"),
        (b"<!DOCTYPE html><html>", "it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"\x1f\x8b\x08\x00", "compressed by gzip"),
        (b"hello", "not a file of weights: known are"),
        (bytes(1000), "not a file of weights"),
        (b"PK\x03\x04" + bytes(100), "zip file: truncated or corrupt"),
    ],
)
def test_files_of_other_kinds(tmp_path, contents, message):
    path = tmp_path / "x.pth"
    path.write_bytes(contents)
    with pytest.raises(WeightError, match=message):
        read_weights(path)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(WeightError, match="there is no such file"):
        open_weights(tmp_path / "none.pth")
    with pytest.raises(WeightError, match="is a folder"):
        open_weights(tmp_path)


def test_writing_to_an_unknown_suffix(tmp_path):
    with pytest.raises(WeightError, match=r"expected a file ending in \.safetensors"):
        write_weights(tmp_path / "x.pth", ARRAYS)
