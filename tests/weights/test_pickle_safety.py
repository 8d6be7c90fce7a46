"""Nothing in a file is executed, and nothing is allocated that the file does not pay for."""

import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from htc.weights import WeightError, read_weights

ATTACKS = [
    ("os", "system"),
    ("posix", "system"),
    ("nt", "system"),
    ("subprocess", "Popen"),
    ("builtins", "eval"),
    ("builtins", "exec"),
    ("__builtin__", "eval"),
    ("builtins", "__import__"),
    ("builtins", "open"),
    ("builtins", "getattr"),
    ("importlib", "import_module"),
    ("pickle", "loads"),
    ("runpy", "run_path"),
    ("torch", "load"),
    ("torch.hub", "load"),
    ("torch.storage", "_load_from_bytes"),
    ("torch.jit", "load"),
    ("torch._utils", "_rebuild_qtensor"),
    ("numpy", "load"),
    ("numpy", "fromfile"),
    ("numpy.f2py", "compile"),
    ("collections", "OrderedDict.__class__"),
    ("operator", "attrgetter"),
    ("functools", "partial"),
]


def _write(tools, kind, path, objects, protocol):
    if kind == "paddle":
        path.write_bytes(tools.pickled(objects, protocol))
        return path
    return tools.TorchFile().write(kind, path, objects, protocol=protocol)


@pytest.mark.parametrize(("module", "name"), ATTACKS)
@pytest.mark.parametrize("kind", ["zip", "legacy", "paddle"])
@pytest.mark.parametrize("protocol", [2, 4])
def test_other_globals_are_refused_by_name(tools, tmp_path, module, name, kind, protocol):
    victim = tmp_path / "victim"
    call = tools.Call(tools.Name(module, name), (f"touch {victim}",))
    path = _write(tools, kind, tmp_path / "x.pth", {"w": call}, protocol)
    module = "builtins" if module == "__builtin__" else module
    with pytest.raises(WeightError) as caught:
        read_weights(path)
    asked = f"{module}.{name}"
    assert asked in str(caught.value) or asked.replace("builtins", "__builtin__") in str(
        caught.value
    )
    assert not victim.exists()


@pytest.mark.parametrize("kind", ["zip", "legacy", "paddle"])
def test_a_global_is_refused_even_if_never_called(tools, tmp_path, kind):
    path = _write(tools, kind, tmp_path / "x.pth", {"w": tools.Name("os", "system")}, 2)
    with pytest.raises(WeightError, match=r"os\.system"):
        read_weights(path)


@pytest.mark.parametrize(
    "body",
    [
        b"(S'touch victim'\nios\nsystem\n.",  # INST
        b"(cos\nsystem\nX\x01\x00\x00\x00ao.",  # OBJ
        b"\x82\x01.",  # EXT1
        b"\x97.",  # NEXT_BUFFER
        b"cbuiltins\nlist\ncos\nsystem\nR.",
        b"X\x02\x00\x00\x00osX\x06\x00\x00\x00system\x93)R.",  # STACK_GLOBAL
        b"cnumpy\ndtype\n(X\x01\x00\x00\x00OtR.",  # object arrays
    ],
)
def test_other_ways_to_call_are_refused(tools, tmp_path, body):
    path = tmp_path / "x.pdparams"
    path.write_bytes(b"\x80\x04" + body)
    with pytest.raises(WeightError):
        read_weights(path)


@pytest.mark.parametrize("owner", ["builtins.list", "numpy.ndarray", "text"])
def test_getattr_is_refused_on_anything_but_a_stand_in(tools, tmp_path, owner):
    target = tools.Name(*owner.split(".")) if "." in owner else owner
    call = tools.Call(tools.Name("builtins", "getattr"), (target, "__class__"))
    path = _write(tools, "paddle", tmp_path / "x.pdparams", {"w": call}, 2)
    with pytest.raises(WeightError, match=r"builtins\.getattr"):
        read_weights(path)


def test_types_cannot_be_called(tools, tmp_path):
    call = tools.Call(tools.Name("builtins", "int"), ("9" * 4000,))
    path = _write(tools, "paddle", tmp_path / "x.pdparams", {"w": call}, 2)
    with pytest.raises(WeightError, match=r"call builtins\.int, which is not allowed"):
        read_weights(path)


def _bombs():
    big = 2**42
    yield "bytes claimed", b"\x8e" + struct.pack("<Q", big) + b"x."
    yield "text claimed", b"\x8d" + struct.pack("<Q", big) + b"x."
    yield "bytearray claimed", b"\x96" + struct.pack("<Q", big) + b"x."
    yield "bytes beyond 2**63", b"\x8e" + b"\xff" * 8 + b"x."
    yield "old bytes", b"B" + b"\xff\xff\xff\xff" + b"x."
    yield "negative text", b"T" + b"\xff\xff\xff\xff" + b"x."
    yield "long claimed", b"\x8b" + struct.pack("<i", 2**31 - 1) + b"1."
    yield "memo index", b"Nr\xff\xff\xff\xff."
    yield "frame claimed", b"\x95" + struct.pack("<Q", big) + b"N."
    yield "bytearray of a number", b"cbuiltins\nbytearray\n\x8a\x06\0\0\0\0\0\x04\x85R."
    yield "bytes of a number", b"cbuiltins\nbytes\n\x8a\x06\0\0\0\0\0\x04\x85R."
    # A remembered list of 10,000 items, copied 100,000 times.
    items = b"](" + b"N" * 10000 + b"eq\x00"
    yield "copies", items + b"(" + b"cbuiltins\nlist\nh\x00\x85R" * 100000 + b"t."
    # A tuple of itself twice, 60 deep, as a key: hashing it takes 2**60 steps.
    yield "deep key", b"}N" + b"2\x86" * 60 + b"Ns."
    yield "deep nesting", b"N" + b"\x85" * 200000 + b"."


@pytest.mark.parametrize(("body"), [body for _, body in _bombs()], ids=[n for n, _ in _bombs()])
def test_no_memory_bombs(tmp_path, body):
    path = tmp_path / "x.pdparams"
    path.write_bytes(b"\x80\x04" + body)
    tracemalloc.start()
    try:
        with pytest.raises(WeightError):
            read_weights(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2**20 * 8 + 60 * len(body)


def test_array_of_the_wrong_length_is_refused(tools, tmp_path):
    call = tools.array_call(np.ones(3, "float32"))
    state = (1, (2**40,), call.state[2], False, call.state[4])
    path = tmp_path / "x.pdparams"
    path.write_bytes(tools.pickled({"w": tools.Call(call.target, call.args, state)}))
    with pytest.raises(WeightError, match="has 12 bytes instead of"):
        read_weights(path)


def test_zip_whose_entries_overlap_is_refused(tools, tmp_path):
    # The directory lists one large entry many times over.
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as archive:
        with archive.open("a.npy", "w") as stream:
            np.save(stream, np.zeros(100000, "uint8"))
        first = archive.filelist[0]
        for index in range(2000):
            twin = zipfile.ZipInfo(f"b{index}.npy")
            for attribute in ("CRC", "compress_size", "file_size", "header_offset"):
                setattr(twin, attribute, getattr(first, attribute))
            archive.filelist.append(twin)
            archive.NameToInfo[twin.filename] = twin
        archive._didModify = True
    with pytest.raises(WeightError, match="entries are larger than the file"):
        read_weights(path)


def test_zip_entry_that_claims_too_much_is_refused(tmp_path):
    path = tmp_path / "x.npz"
    np.savez_compressed(path, a=np.zeros(1000, "float32"))
    raw = bytearray(path.read_bytes())
    directory = raw.index(b"PK\x01\x02")
    raw[directory + 24 : directory + 28] = struct.pack("<I", 2**31)
    path.write_bytes(raw)
    with pytest.raises(WeightError, match="claims 2147483648 bytes"):
        read_weights(path)
