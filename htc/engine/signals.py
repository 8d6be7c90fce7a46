"""SIGTERM and Ctrl-C as a wish to stop after the present step."""

from __future__ import annotations

import signal
import threading


class StopRequest:
    """Within a `with` block, notes the first SIGTERM or SIGINT; a second one acts as usual.

    Attributes:
        signal_number: of the signal that came, or 0.
    """

    SIGNALS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self):
        self.signal_number = 0
        self._before: dict = {}

    def __bool__(self) -> bool:
        return self.signal_number != 0

    def __enter__(self) -> StopRequest:
        # Signals can be handled in the main thread alone; a run in another one has none.
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in self.SIGNALS}
        return self

    def __exit__(self, *_) -> None:
        self._restore()

    def _note(self, number: int, frame) -> None:
        self.signal_number = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
