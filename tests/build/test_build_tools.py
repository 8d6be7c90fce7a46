"""The build on a tiny source tree and a made-up Paddle: fast enough for every run."""

import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "csrc" / "build_tools"


@pytest.fixture
def tools(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))
    for name in ("paddle_target", "ninja_build"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import ninja_build
    import paddle_target

    return paddle_target, ninja_build


def make_paddle(root, version="3.3.1", cuda="False"):
    """A folder that looks like an installed Paddle."""
    paddle = root / "paddle"
    for folder in ("include/paddle", "include/third_party", "base", "libs", "version"):
        (paddle / folder).mkdir(parents=True)
    (paddle / "include/paddle/extension.h").write_text("")
    (paddle / "version/__init__.py").write_text(
        f"full_version = '{version}'\ncuda_version = '{cuda}'\ncommit = 'abc123'\n"
    )
    subprocess.run(
        ["g++", "-shared", "-x", "c++", "/dev/null", "-o", paddle / "base/libpaddle.so"], check=True
    )
    return paddle


def make_source(root):
    source = root / "source"
    for folder in ("cpu", "paddle", "cuda", "include/htc"):
        (source / "csrc" / folder).mkdir(parents=True)
    (source / "csrc/include/htc/answer.h").write_text("constexpr int kAnswer = 42;\n")
    (source / "csrc/cpu/uses_header.cpp").write_text(
        '#include "htc/answer.h"\nint answer() { return kAnswer; }\n'
    )
    (source / "csrc/cpu/alone.cpp").write_text("int alone() { return 1; }\n")
    (source / "csrc/paddle/some_op.cc").write_text(
        '#include "paddle/extension.h"\nint op() { return 2; }\n'
    )
    return source


@pytest.fixture
def project(tmp_path, tools, monkeypatch):
    paddle_target, ninja_build = tools
    root = make_paddle(tmp_path)
    monkeypatch.setattr(
        paddle_target, "_installed_outside", lambda: [("paddlepaddle", "3.3.1", root)]
    )
    source = make_source(tmp_path)

    def build():
        target = paddle_target.find_paddle()
        return ninja_build.build_library(source, tmp_path / "build", target, "1.2.3")

    return source, build, ninja_build


def test_builds_a_library_that_says_what_it_is_for(project):
    _, build, ninja_build = project
    library = build()
    assert library.name == ninja_build.LIBRARY_NAME
    contents = library.read_bytes()
    start = contents.index(b"HTC_OPS_BUILD_INFO")
    text = contents[start : contents.index(b"\n", start)].decode()
    assert '"paddle": "3.3.1"' in text
    assert '"commit": "abc123"' in text
    assert '"htc_ops": "1.2.3"' in text


def test_rebuilds_what_changed_headers_included_and_nothing_else(project, capfd):
    source, build, _ = project
    build()
    capfd.readouterr()

    build()
    assert "no work to do" in capfd.readouterr().out

    (source / "csrc/include/htc/answer.h").write_text("constexpr int kAnswer = 43;\n")
    build()
    compiled = capfd.readouterr().out
    assert "uses_header.cpp" in compiled
    assert "alone.cpp" not in compiled
    assert "some_op.cc" not in compiled


def test_a_compile_error_fails_the_build_with_the_compilers_message(project, capfd):
    source, build, ninja_build = project
    library = build()
    (source / "csrc/cpu/alone.cpp").write_text("int alone() { return missing_name; }\n")
    with pytest.raises(ninja_build.BuildError, match="did not compile"):
        build()
    output = capfd.readouterr()
    assert "missing_name" in output.out + output.err
    # The old library is still there, but a failed build must not be taken for it: setup.py copies
    # only what build_library returns.
    assert library.is_file()


def test_a_link_error_fails_the_build(project):
    source, build, ninja_build = project
    (source / "csrc/cpu/alone.cpp").write_text("int answer() { return 1; }\n")  # defined twice
    with pytest.raises(ninja_build.BuildError):
        build()


def test_another_paddle_in_the_same_place_rebuilds_the_bindings(project, tools, monkeypatch, capfd):
    _, build, _ = project
    library = build()
    root = library.parents[1] / "paddle"
    version = root / "version/__init__.py"
    version.write_text(version.read_text().replace("3.3.1", "3.3.0"))
    monkeypatch.setattr(tools[0], "_installed_outside", lambda: [("paddlepaddle", "3.3.0", root)])
    capfd.readouterr()
    assert b'"paddle": "3.3.0"' in build().read_bytes()
    assert "some_op.cc" in capfd.readouterr().out


@pytest.mark.parametrize("version", ["2.6.2", "3.0.0", "3.1.1", "3.2.2", "3.3.0", "3.3.1"])
def test_supported_versions(tools, version):
    assert tools[0]._is_supported(version)


@pytest.mark.parametrize("version", ["2.5.2", "2.6.1", "3.4.0", "4.0.0"])
def test_other_versions_are_refused_by_name(tools, tmp_path, monkeypatch, version):
    paddle_target, _ = tools
    monkeypatch.setattr(
        paddle_target, "_installed_outside", lambda: [("paddlepaddle", version, tmp_path)]
    )
    with pytest.raises(paddle_target.PaddleError, match=f"paddlepaddle {version} is installed"):
        paddle_target.find_paddle()


def test_two_paddles_side_by_side_are_refused(tools, tmp_path, monkeypatch):
    paddle_target, _ = tools
    both = [("paddlepaddle", "3.3.1", tmp_path), ("paddlepaddle-gpu", "2.6.2", tmp_path)]
    monkeypatch.setattr(paddle_target, "_installed_outside", lambda: both)
    with pytest.raises(paddle_target.PaddleError, match="pip uninstall -y paddlepaddle"):
        paddle_target.find_paddle()


def test_the_package_asks_for_the_very_paddle_that_it_was_built_for(tools, tmp_path, monkeypatch):
    paddle_target, _ = tools
    root = make_paddle(tmp_path, "2.6.2", cuda="11.7")
    found = [("paddlepaddle-gpu", "2.6.2", root)]
    monkeypatch.setattr(paddle_target, "_installed_outside", lambda: found)
    target = paddle_target.find_paddle()
    assert target.requirements == ["paddlepaddle-gpu==2.6.2", "numpy<2"]
    assert target.cuda_version == "11.7"


def test_no_paddle_leaves_the_choice_to_pip(tools, monkeypatch):
    paddle_target, _ = tools
    monkeypatch.setattr(paddle_target, "_installed_outside", list)
    monkeypatch.setattr(paddle_target, "_installed_inside", list)
    assert paddle_target.find_paddle() is None


def test_architectures_come_from_the_variable_or_from_nvcc(tools, monkeypatch):
    _, ninja_build = tools
    listing = "compute_50\ncompute_75\ncompute_90\ncompute_120\n"
    monkeypatch.setattr(ninja_build, "_run", lambda command: listing)
    monkeypatch.delenv("HTC_CUDA_ARCH_LIST", raising=False)
    assert ninja_build.cuda_architectures(Path("/cuda")) == ["75", "90", "120"]
    monkeypatch.setenv("HTC_CUDA_ARCH_LIST", "9.0 8.0;12.0")
    assert ninja_build.cuda_architectures(Path("/cuda")) == ["80", "90", "120"]
    monkeypatch.setenv("HTC_CUDA_ARCH_LIST", "hopper")
    with pytest.raises(ninja_build.BuildError, match="'hopper' is not an architecture"):
        ninja_build.cuda_architectures(Path("/cuda"))


def test_a_generation_of_gpus_shares_a_pass_of_the_compiler(tools):
    _, ninja_build = tools
    assert ninja_build._gencode(["75", "80", "89", "90", "90a", "120"]) == [
        "-gencode 'arch=compute_75,code=[sm_75]'",
        "-gencode 'arch=compute_80,code=[sm_80,sm_89]'",
        "-gencode 'arch=compute_90,code=[sm_90]'",
        "-gencode 'arch=compute_90a,code=[sm_90a]'",
        "-gencode 'arch=compute_120,code=[sm_120]'",
        "-gencode arch=compute_120,code=compute_120",
    ]


def test_asking_for_cuda_without_it_is_an_error(tools, tmp_path, monkeypatch):
    paddle_target, ninja_build = tools
    root = make_paddle(tmp_path)
    target = paddle_target.PaddleTarget("paddlepaddle", "3.3.1", "abc", None, root)
    monkeypatch.setenv("HTC_OPS_CUDA", "1")
    with pytest.raises(ninja_build.BuildError, match="paddlepaddle has no CUDA support"):
        ninja_build._cuda_plan(target)
    gpu = paddle_target.PaddleTarget("paddlepaddle-gpu", "2.6.2", "abc", "11.7", root)
    monkeypatch.setattr(ninja_build, "cuda_home", lambda: None)
    with pytest.raises(ninja_build.BuildError, match="no nvcc was found"):
        ninja_build._cuda_plan(gpu)
    monkeypatch.setenv("HTC_OPS_CUDA", "auto")
    assert ninja_build._cuda_plan(gpu) is None
