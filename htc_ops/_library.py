"""Finds the compiled library, checks that it fits the running Paddle, and registers its operators.

Importing this module does the work, once. Everything that can be wrong ends in one ImportError
that says what to run.
"""

from __future__ import annotations

import ctypes
import os
import warnings
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import paddle
from paddle.base import core, framework
from paddle.base.layer_helper import LayerHelper

from htc_ops import _installation
from htc_ops._installation import LIBRARY_PATH, REINSTALL


def _load() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(str(LIBRARY_PATH))  # first, for its error is shorter than Paddle's
        names = core.load_op_meta_info_and_register_op(str(LIBRARY_PATH))
        protos = framework.OpProtoHolder.instance()
        if names is None:  # Paddle 2.6 finds the new names by itself
            protos.update_op_proto()
        else:
            protos.update_op_proto(names)
        # A library from before a change of the source folder lacks the names that are new.
        library.htc_ops_cpu_target.restype = ctypes.c_char_p
        library.htc_ops_best_cpu_target.restype = ctypes.c_char_p
    except Exception as error:
        raise ImportError(
            f"{LIBRARY_PATH} does not load: {error}. Build it again: {REINSTALL}"
        ) from error
    return library


build_info = _installation.read_build_info()
_installation.check_build_info(build_info)
if _message := _installation.missing_cuda(build_info):
    warnings.warn(_message, RuntimeWarning, stacklevel=2)
_library = _load()


def get_num_threads() -> int:
    """Return the number of threads that the CPU operators use, the calling one counted."""
    return int(_library.htc_ops_get_num_threads())


def set_num_threads(count: int) -> None:
    """Set the number of threads that the CPU operators use. Results do not depend on it.

    It starts as the number of processors that the process may run on, or as the environment
    variable HTC_OPS_NUM_THREADS.
    """
    if isinstance(count, bool) or not isinstance(count, int):
        raise TypeError(f"count: expected an int, got {type(count).__name__}")
    if not 1 <= count <= 256:
        raise ValueError(f"count: expected 1 to 256 threads, got {count}")
    _library.htc_ops_set_num_threads(count)


def release_memory() -> None:
    """Give memory back to the system that is kept for the next large results on the CPU.

    Up to 768 MB of freed results are kept, or as many as the environment variable HTC_OPS_KEEP_MB
    says when the library is loaded. Results in use are not touched.
    """
    _library.htc_ops_release_memory()


def cpu_target() -> str:
    """Return the instruction set in use, as HTC_OPS_TARGET names it (csrc/cpu/cpu_target.h)."""
    return _library.htc_ops_cpu_target().decode()


def best_cpu_target() -> str:
    """Return the best instruction set that the processor and the library both have."""
    return _library.htc_ops_best_cpu_target().decode()


def real(value: float) -> str:
    """Return a number as an operator's attribute: text, since Paddle's floats are 32 bit."""
    return repr(float(value))


# From Paddle 3.0 on there is one that takes the symbolic values of a program being built too.
_run_custom_op = getattr(paddle._C_ops, "_run_custom_op", core.eager._run_custom_op)


def operator(function):
    """Mark a public operator, so that paddle.jit.to_static takes its Python part as one step.

    Without it Paddle 3's tracer would look into the argument checks and stumble there.
    """
    try:
        from paddle.jit.marker import unified
    except ImportError:  # before Paddle 3.1
        if hasattr(paddle, "pir"):
            _hide_from_tracer_of_paddle_3_0(function)
        return paddle.jit.not_to_static(function)
    return unified(function)


def _hide_from_tracer_of_paddle_3_0(function) -> None:
    """The bytecode tracer of Paddle 3.0 has no mark for this; it has lists."""
    from paddle.jit.sot.opcode_translator import skip_files
    from paddle.jit.sot.utils.paddle_api_config import paddle_api_list

    paddle_api_list.append(function)  # taken as one step
    folder = str(Path(__file__).parent) + os.sep
    if folder not in skip_files.skip_file_names:  # called as it is, where that cannot be
        skip_files.skip_file_names.add(folder)
        skip_files.setup_skip_files()


def call(op: str, inputs: dict, attributes: dict, outputs: dict) -> list:
    """Run an operator, or add it to the program that is being built.

    Args:
        op: its registered name.
        inputs: name -> Tensor, list of Tensors, or None, in the registered order (names too). Those
            that are not laid out in row order are copied: the kernels read raw memory.
        attributes: name -> value, in the registered order.
        outputs: name -> dtype (only the old static graph of Paddle 2.6 asks for the dtypes).

    Returns:
        The outputs, in order. An output that is a list must be the only one.
    """
    if paddle.in_dynamic_mode():
        return _as_list(
            _run_custom_op(op, *map(_contiguous, inputs.values()), *attributes.values())
        )

    # The passes that look for gradients ask every operator that they meet, unless told to stop.
    differentiable = core.has_grad_op_maker(op)
    inputs = {name: _as_graph_input(value, differentiable) for name, value in inputs.items()}
    if framework.in_dynamic_or_pir_mode():
        return _as_list(_run_custom_op(op, *inputs.values(), *attributes.values()))
    helper = LayerHelper(op)
    results = {
        name: helper.create_variable_for_type_inference(dtype, stop_gradient=not differentiable)
        for name, dtype in outputs.items()
    }
    # Registered names may carry a mark: "ClassIds@OPTIONAL", "Features@VECTOR".
    registered = {
        proto.name.split("@")[0]: proto.name
        for proto in framework.OpProtoHolder.instance().get_op_proto(op).inputs
    }
    helper.append_op(
        type=op,
        inputs={registered[name]: value for name, value in inputs.items() if value is not None},
        outputs=results,
        attrs=attributes,
    )
    if differentiable or _only_predicts.get():
        return list(results.values())
    # A program in training starts its search for gradients at what it returns, without asking
    # whether these stop there: it must not meet this operator first.
    return [paddle.assign(result) for result in results.values()]


def _contiguous(value):
    if isinstance(value, list):
        return [_contiguous(each) for each in value]
    return value if value is None or value.is_contiguous() else value.contiguous()


def _as_list(result) -> list:
    return list(result) if isinstance(result, (list, tuple)) else [result]


def _as_graph_input(value, differentiable: bool):
    """What an operator in a program may read: a copy in the plain layout.

    Paddle Inference hands operators like these tensors in oneDNN's blocked layouts without
    converting them. assign, which oneDNN does not have, makes plain ones of them.
    """
    if value is None:
        return None
    if isinstance(value, (list, tuple)):
        return [_as_graph_input(part, differentiable) for part in value]
    if _only_predicts.get() and is_plain(value):
        return value
    if differentiable and _is_assigned(value):
        return value
    plain = paddle.assign(value)
    if not differentiable:
        plain.stop_gradient = True
    return plain


def _is_assigned(value) -> bool:
    """Whether a program's value is the result of assign already."""
    return _source(value) in ("pd_op.assign", "assign")


def is_plain(value) -> bool:
    """Whether a program's value is in the plain layout for sure: a weight, or of these operators."""
    if _always_plain.get():
        return True
    source = _source(value)
    return _is_assigned(value) or "htc_" in source or source.endswith("parameter")


def _source(value) -> str:
    """The name of the operator that a program's value comes from."""
    if hasattr(value, "get_defining_op"):
        source = value.get_defining_op()
        return "" if source is None else source.name()
    if getattr(value, "persistable", False):  # Paddle 2.6's static variables from here on
        return "parameter"
    source = getattr(value, "op", None)
    return "" if source is None else source.type


# Not plain globals: programs are built from copies of the modules, taken when the first is built.
_only_predicts = ContextVar("the program only predicts", default=False)
_always_plain = ContextVar("every layout is the plain one", default=False)


@contextmanager
def program_that_only_predicts(through_onednn: bool = True):
    """Within it, programs are built that will never be trained.

    Copies that training or a change of layout alone would need are left out: a feature map of a
    large picture takes as long to copy as some operators take.

    Args:
        through_onednn: whether oneDNN runs parts of it. Without it every layout is the plain one.
            (A program that is run through it all the same stops: the operators refuse its layouts.)
    """
    before = _only_predicts.set(True), _always_plain.set(not through_onednn)
    try:
        yield
    finally:
        _only_predicts.reset(before[0])
        _always_plain.reset(before[1])
