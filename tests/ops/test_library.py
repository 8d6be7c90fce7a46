"""What is said where the library is missing, damaged or built for something else."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import paddle
import pytest

import htc_ops
from htc_ops import _installation, _library

PACKAGE = Path(htc_ops.__file__).parent
BUILT_FOR = f"built for {_library.build_info['distribution']} {_library.build_info['paddle']}"


@pytest.fixture
def package(tmp_path):
    """A copy of the package, library included, that a test may spoil."""
    return shutil.copytree(PACKAGE, tmp_path / "here" / "htc_ops")


def python(package, *arguments, path=()):
    """Run Python with that package first; returns the exit code and all that was printed."""
    folders = [str(folder) for folder in (package.parent, *path)]
    result = subprocess.run(
        [sys.executable, "-W", "ignore", *arguments],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(folders)},
        cwd=package.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return result.returncode, result.stdout


def assert_both_say(package, *parts, path=()):
    """The import fails with one line that has all the parts; the doctor runs, and says the same."""
    code, printed = python(package, "-c", "import htc_ops", path=path)
    last = printed.strip().splitlines()[-1]
    assert code == 1 and last.startswith("ImportError: ")
    for part in parts:
        assert part in last
    code, printed = python(package, "-m", "htc_ops.doctor", path=path)
    assert code == 1 and "Traceback" not in printed
    assert last.removeprefix("ImportError: ") in printed
    assert paddle.version.full_version in printed


def spoil(package, change):
    library = package / "libhtc_ops.so"
    library.write_bytes(change(library.read_bytes()))


def test_missing(package):
    (package / "libhtc_ops.so").unlink()
    # Which command follows depends on whether these tests run beside an installed copy.
    assert_both_say(package, "not built", str(package), "pip install ")


def test_missing_here_but_installed_elsewhere(package, tmp_path):
    installed = shutil.copytree(package, tmp_path / "site-packages" / "htc_ops")
    (package / "libhtc_ops.so").unlink()
    assert_both_say(
        package,
        "not built here",
        f"hides the installed copy in {installed}",
        "pip install -e .",
        path=[installed.parent],
    )


def test_another_paddle(package):
    commit = _library.build_info["commit"].encode()
    spoil(package, lambda data: data.replace(commit, b"0123456789" * 4))
    assert_both_say(package, BUILT_FOR, "commit 012345678", "is running", "pip install --force")


def test_no_library_of_ours(package):
    spoil(package, lambda data: data.replace(b"HTC_OPS_BUILD_INFO", b"SOMETHING_NOT_OURS"))
    assert_both_say(package, "is damaged or not a library of htc_ops", "pip install --force")


@pytest.mark.parametrize("part", [0.5, 0.999])
def test_cut_short(package, part):
    spoil(package, lambda data: data[: int(len(data) * part)])
    assert_both_say(package, "is damaged or not a library of htc_ops", "pip install --force")


def test_a_library_that_does_not_load(package):
    spoil(package, lambda data: data.replace(b"\0libpaddle.so\0", b"\0libpuddle.so\0"))
    assert_both_say(package, "does not load", "libpuddle.so", "pip install --force-reinstall")


@pytest.mark.parametrize("data", [b"", b"HTC_OPS_BUILD_INFO{'\n", b"HTC_OPS_BUILD_INFO"])
def test_facts_that_cannot_be_read(tmp_path, data):
    path = tmp_path / "libhtc_ops.so"
    path.write_bytes(data)
    with pytest.raises(ImportError, match="is damaged or not a library of htc_ops"):
        _installation.read_build_info(path)


def test_a_folder_in_its_place(tmp_path):
    with pytest.raises(ImportError, match="is damaged or not a library of htc_ops"):
        _installation.read_build_info(tmp_path)


def test_another_version_with_the_same_commit():
    info = _library.build_info | {"paddle": "2.5.0"}
    with pytest.raises(ImportError, match=r"paddle\w*(-gpu)? 2.5.0 .*but Paddle \d.*is running"):
        _installation.check_build_info(info)
    _installation.check_build_info(_library.build_info)


@pytest.fixture
def gpu(monkeypatch):
    """A machine with a GPU that Paddle can use, as far as Paddle's answers go."""
    cuda = paddle.device.cuda
    monkeypatch.setattr(paddle, "is_compiled_with_cuda", lambda: True)
    monkeypatch.setattr(cuda, "device_count", lambda: 1)
    monkeypatch.setattr(cuda, "get_device_name", lambda index: "Test GPU")
    monkeypatch.setattr(cuda, "get_device_capability", lambda index: (8, 6))


def test_cuda_half_missing_with_a_gpu(gpu, monkeypatch):
    built = _library.build_info | {"cuda_architectures": ["80"]}
    without = built | {"cuda_architectures": []}
    assert _installation.missing_cuda(built) is None
    message = _installation.missing_cuda(without)
    assert "without its CUDA half" in message and "HTC_OPS_CUDA=1 pip install" in message
    monkeypatch.setattr(paddle.device.cuda, "device_count", lambda: 0)
    assert _installation.missing_cuda(without) is None


def test_cuda_half_missing_warns_at_import(package):
    if _library.build_info["cuda_architectures"]:
        pytest.skip("this library has its CUDA half")
    code = (
        "import paddle; paddle.is_compiled_with_cuda = lambda: True; "
        "paddle.device.cuda.device_count = lambda: 1; import warnings; "
        "warnings.simplefilter('error', RuntimeWarning); import htc_ops"
    )
    code, printed = python(package, "-c", code)
    assert code == 1
    assert "RuntimeWarning: htc_ops was built without its CUDA half" in printed


def test_only_the_doctor_gets_past_a_broken_library(package):
    (package / "libhtc_ops.so").unlink()
    script = package.parent / "script.py"
    script.write_text("import htc_ops")
    for arguments in (["script.py", "htc_ops.doctor"], ["-m", "htc_ops.nms", "htc_ops.doctor"]):
        code, printed = python(package, *arguments)
        assert code == 1 and "htc_ops is not built" in printed


def test_number_of_threads():
    before = htc_ops.get_num_threads()
    assert before >= 1
    try:
        htc_ops.set_num_threads(3)
        assert htc_ops.get_num_threads() == 3
    finally:
        htc_ops.set_num_threads(before)
    for bad in (0, 257, -1):
        with pytest.raises(ValueError, match=f"count: expected 1 to 256 threads, got {bad}"):
            htc_ops.set_num_threads(bad)
    for bad in (True, 2.0, "2", None):
        with pytest.raises(TypeError, match="count: expected an int, got"):
            htc_ops.set_num_threads(bad)
    assert htc_ops.get_num_threads() == before


def test_environment_variables(package):
    code = "from htc_ops import _library; print(_library.cpu_target(), _library.get_num_threads())"
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env=os.environ
        | {"HTC_OPS_TARGET": "portable", "HTC_OPS_NUM_THREADS": "3", "PYTHONPATH": package.parent},
        cwd=package.parent,
        capture_output=True,
        text=True,
    )
    assert result.stdout.split() == ["portable", "3"]


def test_real_numbers_travel_exactly():
    for value in (0.7, 1 / 3, 1e-300, 3, -0.0):
        assert float(_library.real(value)) == value
