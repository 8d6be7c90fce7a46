"""Reads pickles without running anything that they ask for.

A pickle is a program for a small stack machine (the standard library's pickletools describes it).
Python's own unpickler calls whatever functions the program names and trusts the sizes that it
claims. This one builds plain containers, numbers and text; a name is looked up in a table
(pickle_globals.py), a name not in it ends the reading, and nothing is allocated that the file's own
length does not pay for.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from htc.weights.tensors import WeightError

MAX_LINE = 4096  # numbers and names that end at a newline are short in any honest file


class Global:
    """What a name in a pickle stands for: `call(*args)` builds it.

    Without `call`, the name may be mentioned (a type, say) but not called.
    """

    def __init__(self, name: str, call: Callable | None = None):
        self.name = name
        self.call = call

    def __repr__(self):
        return self.name


class Shell:
    """An object that is built first and filled by its state later; subclasses say how."""

    def set_state(self, state: Any) -> None:
        """Takes the state; the default drops it."""


class _Mark:
    pass


_MARK = _Mark()


class PickleMachine:
    """Runs one pickle.

    Args:
        data: the bytes of the file (bytes or memoryview).
        find_global: (module, name) -> Global; raises WeightError for a name that is not allowed.
        persistent_load: what to do with a persistent id; None refuses them.
        position: where in `data` the pickle starts; after load(), where it ended.
    """

    def __init__(
        self,
        data,
        find_global: Callable[[str, str], Global],
        persistent_load: Callable[[Any], Any] | None = None,
        position: int = 0,
    ):
        self.data = memoryview(data)
        self.find_global = find_global
        self.persistent_load = persistent_load
        self.position = position
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        # Copies that calls may make (of a remembered list, again and again), in items or bytes.
        self.allowance = 4 * len(self.data) + 2**20

    def load(self) -> Any:
        """The object that the pickle describes.

        Raises:
            WeightError: the pickle is truncated or corrupt, or asks for what is not allowed.
        """
        try:
            while True:
                opcode = self._take(1)[0]
                if opcode == 0x2E:  # STOP
                    return self.stack.pop()
                operation = _OPERATIONS.get(opcode)
                if operation is None:
                    raise WeightError(
                        f"pickle: operation 0x{opcode:02x} at byte {self.position - 1} is not"
                        " allowed: the file is corrupt, or not a file of weights"
                    )
                operation(self)
        except WeightError:
            raise
        except RecursionError:
            raise WeightError("pickle: nested too deeply to be a file of weights") from None
        except Exception as error:
            # Whatever goes wrong inside a damaged pickle (a missing stack item, a wrong type) is
            # one and the same mistake for the user.
            raise WeightError(
                f"pickle: corrupt near byte {self.position} ({type(error).__name__}: {error})"
            ) from None

    # What the operations are made of.

    def _take(self, count: int) -> memoryview:
        end = self.position + count
        if count < 0 or end > len(self.data):
            raise WeightError(
                f"pickle: truncated or corrupt: {count} bytes are claimed at byte {self.position},"
                f" {max(0, len(self.data) - self.position)} are left"
            )
        taken = self.data[self.position : end]
        self.position = end
        return taken

    def _number(self, layout: str) -> int:
        return struct.unpack(layout, self._take(struct.calcsize(layout)))[0]

    def _line(self) -> str:
        window = bytes(self.data[self.position : self.position + MAX_LINE])
        length = window.find(b"\n")
        if length < 0:
            raise WeightError(f"pickle: no end of line after byte {self.position}")
        self.position += length + 1
        return window[:length].decode("utf-8")

    def _text(self, layout: str) -> str:
        return str(self._take(self._number(layout)), "utf-8", "surrogatepass")

    def _bytes(self, layout: str) -> bytes:
        return bytes(self._take(self._number(layout)))

    def _since_mark(self) -> list:
        for index in range(len(self.stack) - 1, -1, -1):
            if self.stack[index] is _MARK:
                items = self.stack[index + 1 :]
                del self.stack[index:]
                return items
        raise WeightError(f"pickle: corrupt: no mark before byte {self.position}")

    def _last(self, count: int) -> list:
        if len(self.stack) < count:
            raise WeightError(f"pickle: corrupt: the stack is empty at byte {self.position}")
        items = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return items

    def push(self, value: Any) -> None:
        self.stack.append(value)


def _hashable(value: Any) -> Any:
    """Keys are scalars, or flat tuples of them: hashing a deep tuple could take for ever."""
    scalar = (str, int, float, bool, bytes, type(None), complex)
    flat = isinstance(value, tuple) and len(value) < 100
    if isinstance(value, scalar) or (flat and all(isinstance(item, scalar) for item in value)):
        return value
    if isinstance(value, Global):
        return value.name
    raise WeightError(f"pickle: {type(value).__name__} as a key of a dictionary is not allowed")


def _set_items(machine: PickleMachine, items: list) -> None:
    target = machine.stack[-1]
    if isinstance(target, Shell):
        return  # an inert stand-in keeps nothing
    if not isinstance(target, dict) or len(items) % 2:
        raise WeightError(f"pickle: corrupt: keys for a {type(target).__name__}")
    for index in range(0, len(items), 2):
        target[_hashable(items[index])] = items[index + 1]


def _append(machine: PickleMachine, items: list) -> None:
    target = machine.stack[-1]
    if isinstance(target, Shell):
        return
    if not isinstance(target, list):
        raise WeightError(f"pickle: corrupt: items for a {type(target).__name__}")
    target.extend(items)


def _add(machine: PickleMachine) -> None:
    items = machine._since_mark()
    target = machine.stack[-1]
    if not isinstance(target, set):
        raise WeightError(f"pickle: corrupt: elements for a {type(target).__name__}")
    target.update(_hashable(item) for item in items)


def _call(machine: PickleMachine, target: Any, args: Any) -> Any:
    if not isinstance(target, Global):
        raise WeightError(f"pickle: corrupt: a call of a {type(target).__name__}")
    if target.call is None:
        raise WeightError(f"pickle: the file asks to call {target.name}, which is not allowed")
    if not isinstance(args, tuple):
        raise WeightError(f"pickle: corrupt: arguments of {target.name}")
    machine.allowance -= sum(len(arg) for arg in args if hasattr(arg, "__len__"))
    if machine.allowance < 0:
        raise WeightError("pickle: unpacks to far more than the file holds: not a file of weights")
    return target.call(*args)


def _reduce(machine: PickleMachine) -> None:
    target, args = machine._last(2)
    machine.push(_call(machine, target, args))


def _new_object_with_keywords(machine: PickleMachine) -> None:
    target, args, keywords = machine._last(3)
    if keywords:
        raise WeightError(f"pickle: keyword arguments of {target!r} are not allowed")
    machine.push(_call(machine, target, args))


def _build(machine: PickleMachine) -> None:
    (state,) = machine._last(1)
    target = machine.stack[-1]
    if isinstance(target, Shell):
        target.set_state(state)
    # The state of a dictionary (an OrderedDict's attributes, such as torch's _metadata) is dropped.
    elif not isinstance(target, dict):
        raise WeightError(f"pickle: corrupt: a state for a {type(target).__name__}")


def _global(machine: PickleMachine, module: Any, name: Any) -> None:
    if not (isinstance(module, str) and isinstance(name, str)):
        raise WeightError("pickle: corrupt: the name of a global is not text")
    machine.push(machine.find_global(module, name))


def _persistent(machine: PickleMachine, key: Any) -> None:
    if machine.persistent_load is None:
        raise WeightError("pickle: refers to storages outside of itself: not a file of weights")
    machine.push(machine.persistent_load(key))


def _long(machine: PickleMachine, layout: str) -> None:
    machine.push(int.from_bytes(machine._take(machine._number(layout)), "little", signed=True))


def _memoize(machine: PickleMachine, index: int) -> None:
    machine.memo[index] = machine.stack[-1]


def _recall(machine: PickleMachine, index: int) -> None:
    if index not in machine.memo:
        raise WeightError(f"pickle: corrupt: nothing is remembered as {index}")
    machine.push(machine.memo[index])


def _text_integer(machine: PickleMachine) -> None:
    line = machine._line()
    machine.push({"00": False, "01": True}[line] if line in ("00", "01") else int(line))


def _quoted(machine: PickleMachine) -> None:
    line = machine._line()
    if len(line) < 2 or line[0] != line[-1] or line[0] not in "'\"":
        raise WeightError(f"pickle: corrupt: unquoted text at byte {machine.position}")
    machine.push(line[1:-1].encode("latin-1").decode("unicode_escape"))


def _legacy_text(machine: PickleMachine, layout: str) -> None:
    # Python 2's str: text as a rule, but the bytes of an array too.
    raw = machine._bytes(layout)
    try:
        machine.push(raw.decode("ascii"))
    except UnicodeDecodeError:
        machine.push(raw)


_OPERATIONS: dict[int, Callable[[PickleMachine], Any]] = {
    ord(code): operation
    for code, operation in {
        "\x80": lambda m: _protocol(m._number("<B")),
        "\x95": lambda m: m._take(8),  # FRAME: a hint for buffering
        "(": lambda m: m.push(_MARK),
        "0": lambda m: m._last(1),
        "1": lambda m: m._since_mark(),
        "2": lambda m: m.push(m.stack[-1]),
        "N": lambda m: m.push(None),
        "\x88": lambda m: m.push(True),
        "\x89": lambda m: m.push(False),
        "I": _text_integer,
        "L": lambda m: m.push(int(m._line().rstrip("L"))),
        "F": lambda m: m.push(float(m._line())),
        "J": lambda m: m.push(m._number("<i")),
        "K": lambda m: m.push(m._number("<B")),
        "M": lambda m: m.push(m._number("<H")),
        "\x8a": lambda m: _long(m, "<B"),
        "\x8b": lambda m: _long(m, "<i"),
        "G": lambda m: m.push(m._number(">d")),
        "V": lambda m: m.push(m._line().encode("latin-1").decode("raw-unicode-escape")),
        "X": lambda m: m.push(m._text("<I")),
        "\x8c": lambda m: m.push(m._text("<B")),
        "\x8d": lambda m: m.push(m._text("<Q")),
        "S": _quoted,
        "T": lambda m: _legacy_text(m, "<i"),
        "U": lambda m: _legacy_text(m, "<B"),
        "B": lambda m: m.push(m._bytes("<I")),
        "C": lambda m: m.push(m._bytes("<B")),
        "\x8e": lambda m: m.push(m._bytes("<Q")),
        "\x96": lambda m: m.push(bytearray(m._take(m._number("<Q")))),
        ")": lambda m: m.push(()),
        "\x85": lambda m: m.push(tuple(m._last(1))),
        "\x86": lambda m: m.push(tuple(m._last(2))),
        "\x87": lambda m: m.push(tuple(m._last(3))),
        "t": lambda m: m.push(tuple(m._since_mark())),
        "]": lambda m: m.push([]),
        "l": lambda m: m.push(m._since_mark()),
        "a": lambda m: _append(m, m._last(1)),
        "e": lambda m: _append(m, m._since_mark()),
        "}": lambda m: m.push({}),
        "d": lambda m: _dict(m),
        "s": lambda m: _set_items(m, m._last(2)),
        "u": lambda m: _set_items(m, m._since_mark()),
        "\x8f": lambda m: m.push(set()),
        "\x90": _add,
        "\x91": lambda m: m.push(frozenset(_hashable(item) for item in m._since_mark())),
        "g": lambda m: _recall(m, int(m._line())),
        "h": lambda m: _recall(m, m._number("<B")),
        "j": lambda m: _recall(m, m._number("<I")),
        "p": lambda m: _memoize(m, int(m._line())),
        "q": lambda m: _memoize(m, m._number("<B")),
        "r": lambda m: _memoize(m, m._number("<I")),
        "\x94": lambda m: _memoize(m, len(m.memo)),
        "c": lambda m: _global(m, m._line(), m._line()),
        "\x93": lambda m: _global(m, *m._last(2)),
        "R": _reduce,
        "\x81": _reduce,  # NEWOBJ: cls.__new__(cls, *args) is the same call for the names allowed
        "\x92": _new_object_with_keywords,
        "b": _build,
        "P": lambda m: _persistent(m, m._line()),
        "Q": lambda m: _persistent(m, *m._last(1)),
    }.items()
}


def _protocol(version: int) -> None:
    if version > 5:
        raise WeightError(f"pickle: protocol {version} is not known (0 to 5 are)")


def _dict(machine: PickleMachine) -> None:
    items = machine._since_mark()
    machine.push({})
    _set_items(machine, items)
