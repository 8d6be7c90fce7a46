"""From the objects in a file to named tensors: wrappers, prefixes, and Paddle's own conventions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from htc.weights.pickle_globals import ArrayShell
from htc.weights.tensors import LazyTensor, WeightError

# Where tools put the weights, likeliest first, and where they put their moving average. In
# mmengine's files "state_dict" is the average already and "ema_state_dict" the raw weights, so the
# plain entry is taken unless the average is asked for.
PLAIN = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "params")
AVERAGED = ("state_dict_ema", "model_ema", "ema_model", "params_ema", "ema", "ema_state_dict")

PREFIXES = ("module.", "_orig_mod.", "model.", "ema_model.", "ema.", "detector.")

# Counters that averaging puts beside the weights.
_COUNTERS = {"steps", "n_averaged", "num_updates", "decay"}

PADDLE_NAMES = "StructuredToParameterName@@"
PADDLE_PIECES = "UnpackBigParamInfor@@"


def select_state(objects: Any, ema: bool, depth: int = 0) -> tuple[dict, list[str]]:
    """The innermost mapping that holds the weights, and notes on what else there was.

    Raises:
        WeightError: there are no named tensors, or no average where one is asked for.
    """
    if not isinstance(objects, dict) or depth > 4:
        raise WeightError(
            f"holds a {_kind(objects)}, not named tensors: save model.state_dict() instead"
        )
    plain = [key for key in PLAIN if _holds_tensors(objects.get(key))]
    averaged = [key for key in AVERAGED if _holds_tensors(objects.get(key))]
    notes = []
    if ema and not averaged and depth == 0:
        raise WeightError(
            f"holds no averaged weights (none of {', '.join(AVERAGED)}); read it without ema"
        )
    if plain or averaged:
        chosen = (averaged if ema and averaged else plain or averaged)[0]
        if averaged and chosen not in averaged:
            notes.append(f"the file also holds {averaged[0]!r} (averaged weights), not used")
        elif averaged and not ema:
            notes.append(f"the file holds averaged weights alone ({chosen!r}); they are used")
        state, inner = select_state(objects[chosen], False, depth + 1)
        return state, notes + inner
    if not any(_tensor_of(value) is not None for value in objects.values()):
        others = [value for key, value in objects.items() if key != "optimizer"]
        others = [value for value in others if _holds_tensors(value)]
        if len(others) == 1:
            return select_state(others[0], False, depth + 1)
        raise WeightError(
            "holds no named tensors"
            + (f" (its entries: {', '.join(map(str, list(objects)[:8]))})" if objects else "")
        )
    return objects, notes


def _kind(value: Any) -> str:
    return "tensor" if _tensor_of(value) is not None else type(value).__name__


def _tensor_of(value: Any) -> LazyTensor | None:
    if isinstance(value, LazyTensor):
        return value
    if isinstance(value, ArrayShell):
        return value.tensor
    # paddle.save writes a tensor inside other objects as (name, array).
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str):
        return _tensor_of(value[1]) if isinstance(value[1], ArrayShell) else None
    return None


def _holds_tensors(value: Any, depth: int = 0) -> bool:
    if not isinstance(value, dict) or depth > 3:
        return False
    if any(_tensor_of(item) is not None for item in value.values()):
        return True
    nested = (value.get(key) for key in (*PLAIN, *AVERAGED))
    return any(_holds_tensors(item, depth + 1) for item in nested)


def named_tensors(state: dict) -> dict[str, LazyTensor]:
    """The tensors of a state, prefixes that all of them share taken off."""
    tensors = {}
    for name, value in state.items():
        tensor = _tensor_of(value)
        if tensor is not None and name not in _COUNTERS:
            tensors[str(name)] = tensor
    stripped = True
    while stripped:
        stripped = False
        for prefix in PREFIXES:
            if tensors and all(name.startswith(prefix) for name in tensors):
                tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
                stripped = True
    return tensors


def join_split_arrays(state: dict, tensors: dict[str, LazyTensor]) -> dict[str, LazyTensor]:
    """Paddle splits arrays over 1 GB for old pickle protocols; this puts them together again."""
    pieces = state.get(PADDLE_PIECES)
    if not isinstance(pieces, dict):
        return tensors
    joined = dict(tensors)
    for name, entry in pieces.items():
        try:
            parts = [joined.pop(part) for part in entry["slices"]]
            shape = tuple(int(size) for size in _numbers(entry["OriginShape"]))
        except (KeyError, TypeError, ValueError):
            raise WeightError(f"corrupt Paddle file: the pieces of {name!r:.80}") from None
        if not parts or sum(math.prod(part.shape) for part in parts) != math.prod(shape):
            raise WeightError(f"corrupt Paddle file: the pieces of {name!r:.80} do not fit")
        joined[str(name)] = _concatenated(parts, shape)
    return joined


def _numbers(value: Any):
    tensor = _tensor_of(value)
    return tensor.read() if tensor is not None else value


def _concatenated(parts: list[LazyTensor], shape: tuple[int, ...]) -> LazyTensor:
    def read() -> np.ndarray:
        return np.concatenate([part.read().ravel() for part in parts]).reshape(shape)

    return LazyTensor(shape, parts[0].dtype, read)


def plain_facts(objects: Any) -> dict[str, str]:
    """Texts and numbers beside the weights (epoch, versions, the training config), as text."""
    facts = {}
    if isinstance(objects, dict):
        inner = objects.get("meta")
        for source in (objects, inner if isinstance(inner, dict) else {}):
            for key, value in source.items():
                if isinstance(key, str) and isinstance(value, (str, int, float)):
                    facts[key] = str(value)
    return facts
