"""PyTorch files, both formats: types, windows on storages, wrappers, damage."""

import numpy as np
import pytest

from htc.weights import WeightError, open_weights, read_weights

VALUES = np.random.RandomState(0).randn(3, 4).astype("float32")


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int64", "int32", "bool"])
@pytest.mark.parametrize("protocol", [2, 4])
def test_element_types_are_kept(tools, form, tmp_path, dtype, protocol):
    file = tools.TorchFile()
    array = (VALUES * 10).astype(dtype)
    path = file.write(form, tmp_path / "x.pth", {"w": file.tensor(array)}, protocol=protocol)
    arrays, _ = read_weights(path)
    assert arrays["w"].dtype == array.dtype
    np.testing.assert_array_equal(arrays["w"], array)


def test_bfloat16_is_widened_exactly(tools, form, tmp_path):
    file = tools.TorchFile()
    expected = np.array([1.5, -2.25, 2.0**127, 2.0**-133, np.inf], "float32")
    bits = (expected.view("uint32") >> 16).astype("uint16")
    storage = file.storage(bits, "BFloat16Storage")
    path = file.write(form, tmp_path / "x.pth", {"w": file.window(storage, 0, [5], [1])})
    arrays, _ = read_weights(path)
    assert arrays["w"].dtype == np.float32
    np.testing.assert_array_equal(arrays["w"], expected)
    assert open_weights(path).tensors["w"].dtype == "bfloat16"


def test_windows_on_one_storage(tools, form, tmp_path):
    file = tools.TorchFile()
    base = np.arange(24, dtype="float32")
    storage = file.storage(base)
    tensors = {
        "whole": file.window(storage, 0, [4, 6], [6, 1]),
        "transposed": file.window(storage, 0, [6, 4], [1, 6]),
        "strided": file.window(storage, 7, [3, 2], [6, 2]),
        "expanded": file.window(storage, 3, [5, 2], [0, 1]),
        "scalar": file.window(storage, 9, [], []),
        "empty": file.window(storage, 0, [0, 3], [3, 1]),
    }
    arrays, _ = read_weights(file.write(form, tmp_path / "x.pth", tensors))
    grid = base.reshape(4, 6)
    np.testing.assert_array_equal(arrays["whole"], grid)
    np.testing.assert_array_equal(arrays["transposed"], grid.T)
    np.testing.assert_array_equal(arrays["strided"], grid[1:, 1:5:2])
    np.testing.assert_array_equal(arrays["expanded"], np.tile(base[3:5], (5, 1)))
    assert arrays["scalar"].shape == () and arrays["scalar"] == 9
    assert arrays["empty"].shape == (0, 3)
    arrays["whole"][:] = 0  # memory of its own: neither the file nor the others change
    assert arrays["transposed"][0, 1] == 6


def test_view_of_a_storage_in_legacy_files(tools, tmp_path):
    file = tools.TorchFile()
    storage = file.storage(np.arange(10, dtype="float32"), view=("v", 4, 3))
    path = file.write_legacy(tmp_path / "x.pth", {"w": file.window(storage, 1, [2], [1])})
    np.testing.assert_array_equal(read_weights(path)[0]["w"], [5, 6])


def test_big_endian_zip(tools, tmp_path):
    file = tools.TorchFile()
    path = tmp_path / "x.pth"
    file.write_zip(path, {"w": file.tensor(VALUES)}, byte_order="big")
    arrays, _ = read_weights(path)
    np.testing.assert_array_equal(arrays["w"], VALUES)
    assert arrays["w"].dtype.isnative


def test_parameters_are_tensors(tools, form, tmp_path):
    file = tools.TorchFile()
    hooks = tools.Call(tools.Name("collections", "OrderedDict"), ())
    make = tools.Name("torch._utils", "_rebuild_parameter")
    old = file.tensor(VALUES)
    old = tools.Call(tools.Name("torch._utils", "_rebuild_tensor"), old.args[:4])
    tensors = {"p": tools.Call(make, (file.tensor(VALUES), True, hooks)), "old": old}
    arrays, _ = read_weights(file.write(form, tmp_path / "x.pth", tensors))
    np.testing.assert_array_equal(arrays["p"], VALUES)
    np.testing.assert_array_equal(arrays["old"], VALUES)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "meta": {"epoch": 3}, "optimizer": {"state": {}}},
        lambda state: {"model": state, "epoch": 3},
        lambda state: {"model": {"state_dict": state}},
        lambda state: {"net": {f"module.{name}": value for name, value in state.items()}},
        lambda state: {f"module._orig_mod.{name}": value for name, value in state.items()},
        lambda state: {"model_ema": state},
        lambda state: {"weird": state, "epoch": 3},
        lambda state: {"ema_state_dict": {**state, "steps": 7}},
    ],
)
def test_wrappers_and_prefixes_come_off(tools, form, tmp_path, wrap):
    file = tools.TorchFile()
    state = {"a.weight": file.tensor(VALUES), "b.bias": file.tensor(VALUES[0])}
    arrays, _ = read_weights(file.write(form, tmp_path / "x.pth", wrap(state)))
    assert set(arrays) == {"a.weight", "b.bias"}
    np.testing.assert_array_equal(arrays["b.bias"], VALUES[0])


def test_averaged_weights_on_request(tools, form, tmp_path):
    file = tools.TorchFile()
    objects = {
        "state_dict": {"w": file.tensor(VALUES)},
        "state_dict_ema": {"module.w": file.tensor(2 * VALUES)},
    }
    path = file.write(form, tmp_path / "x.pth", objects)
    np.testing.assert_array_equal(read_weights(path)[0]["w"], VALUES)
    np.testing.assert_array_equal(read_weights(path, ema=True)[0]["w"], 2 * VALUES)
    assert "averaged weights" in open_weights(path).notes[0]
    plain = tools.TorchFile()
    path = plain.write(form, tmp_path / "y.pth", {"w": plain.tensor(VALUES)})
    with pytest.raises(WeightError, match="holds no averaged weights"):
        read_weights(path, ema=True)


def test_metadata_is_text(tools, form, tmp_path):
    file = tools.TorchFile()
    objects = {
        "epoch": 3,
        "meta": {"cfg": "style='caffe'"},
        "state_dict": {"w": file.tensor(VALUES)},
    }
    _, metadata = read_weights(file.write(form, tmp_path / "x.pth", objects))
    assert metadata == {"epoch": "3", "cfg": "style='caffe'"}


@pytest.mark.parametrize("protocol", [2, 4])
def test_training_log_of_mmengine_is_skipped(tools, form, tmp_path, protocol):
    file = tools.TorchFile()
    name = tools.Name("mmengine.logging.history_buffer", "HistoryBuffer")
    method = tools.Call(tools.Name("builtins", "getattr"), (name, "mean"))
    if protocol == 4:
        method = tools.Name(name.module, f"{name.name}.mean")
    base = tools.Name("builtins", "object")
    state = {"_log_history": np.arange(3.0), "_statistics_methods": {"mean": method}}
    buffer = tools.Call(tools.Name("copyreg", "_reconstructor"), (name, base, None), state)
    objects = {"state_dict": {"w": file.tensor(VALUES)}, "message_hub": {"loss": buffer}}
    arrays, _ = read_weights(file.write(form, tmp_path / "x.pth", objects, protocol=protocol))
    np.testing.assert_array_equal(arrays["w"], VALUES)


@pytest.mark.parametrize(
    ("objects", "message"),
    [
        ([1, 2], "holds a list, not named tensors"),
        ({}, "holds no named tensors"),
        ({"epoch": 3, "lr": 0.1}, r"holds no named tensors \(its entries: epoch, lr\)"),
        ({"a": {"b": {"c": 1}}}, "holds no named tensors"),
    ],
)
def test_file_without_weights(tools, form, tmp_path, objects, message):
    path = tools.TorchFile().write(form, tmp_path / "x.pth", objects)
    with pytest.raises(WeightError, match=message):
        read_weights(path)


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [
        (0, [13], [1]),
        (10, [3], [1]),
        (0, [2, 2], [12, 1]),
        (-1, [2], [1]),
        (0, [2], [-1]),
        (0, [-2], [1]),
        (0, [2, 2], [1]),
        (0, [2**62, 2**62], [0, 0]),
        (0, [2.0], [1]),
        (2**70, [1], [1]),
    ],
)
def test_tensor_beyond_its_storage_is_refused(tools, form, tmp_path, offset, size, stride):
    file = tools.TorchFile()
    storage = file.storage(np.arange(12, dtype="float32"))
    tensor = file.window(storage, offset, size, stride)
    path = file.write(form, tmp_path / "x.pth", {"w": tensor})
    with pytest.raises(WeightError, match="PyTorch"):
        read_weights(path)


@pytest.mark.parametrize("claimed", [13, 2**40, 2**61])
def test_storage_longer_than_the_file_is_refused(tools, form, tmp_path, claimed):
    file = tools.TorchFile()
    storage = file.storage(np.arange(12, dtype="float32"), claimed=claimed)
    tensor = file.window(storage, 0, [claimed], [1])
    path = file.write(form, tmp_path / "x.pth", {"w": tensor})
    with pytest.raises(WeightError, match="storage 0 claims"):
        read_weights(path)


def test_expanded_tensor_cannot_fill_the_memory(tools, form, tmp_path):
    file = tools.TorchFile()
    storage = file.storage(np.ones(1, "float32"))
    tensor = file.window(storage, 0, [10**6, 10**6], [0, 0])
    path = file.write(form, tmp_path / "x.pth", {"w": tensor})
    with pytest.raises(WeightError, match="claim 4000000000000 bytes together"):
        read_weights(path)


def test_missing_storage(tools, tmp_path):
    file = tools.TorchFile()
    tensor = file.window(file.reference("7", "FloatStorage", 3), 0, [3], [1])
    with pytest.raises(WeightError, match=r"the storage .*7.* is missing"):
        read_weights(file.write_zip(tmp_path / "x.pth", {"w": tensor}))
    with pytest.raises(WeightError, match=r"the storage .*7.* is missing"):
        read_weights(file.write_legacy(tmp_path / "y.pth", {"w": tensor}))


def test_torchscript_is_named(tools, tmp_path):
    import zipfile

    path = tools.TorchFile().write_zip(tmp_path / "x.pt", {})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/constants.pkl", b"")
    with pytest.raises(WeightError, match="TorchScript archive"):
        read_weights(path)


def _small_file(tools, form, path):
    file = tools.TorchFile()
    state = {f"layer{i}.weight": file.tensor(VALUES + i) for i in range(3)}
    return file.write(form, path, {"state_dict": state, "epoch": 1})


def test_truncation_anywhere_is_one_clear_error(tools, form, tmp_path):
    whole = _small_file(tools, form, tmp_path / "x.pth").read_bytes()
    path = tmp_path / "cut.pth"
    for length in range(1, len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(WeightError) as caught:
            read_weights(path)
        assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def test_damaged_bytes_never_do_worse_than_an_error(tools, form, tmp_path):
    whole = bytearray(_small_file(tools, form, tmp_path / "x.pth").read_bytes())
    path = tmp_path / "bad.pth"
    random = np.random.RandomState(1)
    errors = 0
    for _ in range(1500):
        damaged = bytearray(whole)
        for position in random.randint(0, len(whole), random.randint(1, 4)):
            damaged[position] = random.randint(256)
        path.write_bytes(damaged)
        try:
            read_weights(path)
        except WeightError:
            errors += 1
    assert errors > 300


def test_damaged_values_in_a_zip_are_found(tools, tmp_path):
    path = _small_file(tools, "zip", tmp_path / "x.pth")
    whole = bytearray(path.read_bytes())
    position = whole.index(VALUES.tobytes()) + 5
    whole[position] ^= 1
    path.write_bytes(whole)
    with pytest.raises(WeightError, match="checksum"):
        read_weights(path)
