"""A loading process: takes batches to make from a pipe, leaves them in shared memory.

It is started afresh, not forked: a fork of a process that runs threads or holds a GPU may hang, and
one that knows nothing of Paddle takes a fraction of its memory and starts in a fraction of the time.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import traceback
from multiprocessing.connection import Connection, Pipe

from htc.data.errors import DatasetError
from htc.data.shared_file import SharedFile

_BOOTSTRAP = "import sys; sys.path[:] = {path!r}; from htc.data.worker import serve; serve({args})"


class Worker:
    """The side of a loading process that is in the training process.

    Args:
        number: of the worker, for messages.
        maker: where the BatchMaker lies, and its message.
        slots: batches that can be under way at a time.
    """

    def __init__(self, number: int, maker: SharedFile, message, slots: int):
        self.number = number
        self.slots = [SharedFile() for _ in range(slots)]
        self.connection, theirs = Pipe()
        files = [theirs.fileno(), maker.descriptor, *(slot.descriptor for slot in self.slots)]
        command = _BOOTSTRAP.format(path=sys.path, args=files)
        # One thread each: the processes themselves are the parallelism.
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", command], pass_fds=files, env=environment
        )
        theirs.close()
        self.connection.send(message)

    def ask(self, slot: int, epoch: int, indices: list[int]) -> None:
        """Have a batch made into a free slot."""
        try:
            self.connection.send((slot, epoch, indices))
        except OSError:
            raise self._died() from None

    def answer(self):
        """The oldest batch asked for; waits for it. Raises what making it raised."""
        try:
            slot, message, error = self.connection.recv()
        except (EOFError, OSError):
            raise self._died() from None
        if error is None:
            return self.slots[slot].read(message)
        kind, text = error
        raise (
            DatasetError(text)
            if kind == "DatasetError"
            else RuntimeError(f"loading process {self.number} failed:\n{text}")
        )

    def skip(self) -> None:
        """Wait for the oldest batch asked for, and forget it."""
        try:
            self.connection.recv()
        except (EOFError, OSError):
            raise self._died() from None

    def close(self) -> None:
        """End the process; what it was making is lost."""
        self.connection.close()  # it takes the end of the pipe for the sign to leave
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for slot in self.slots:
            slot.close()

    def _died(self) -> RuntimeError:
        code = self.process.wait()
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        hint = " (9: often the system is out of memory)" if code == -9 else ""
        return RuntimeError(
            f"loading process {self.number} {how}{hint}; data.workers=0 loads without processes"
        )


def serve(files: list[int]) -> None:
    """The loading process itself: runs until the other end of the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the training process to handle
    pipe, maker_file, *slot_files = files
    connection = Connection(pipe)
    slots = [SharedFile(descriptor) for descriptor in slot_files]
    try:
        make = SharedFile(maker_file).read(connection.recv(), copy=False)
        while True:
            slot, epoch, indices = connection.recv()
            try:
                reply = slot, slots[slot].write(make(epoch, indices)), None
            except DatasetError as error:
                reply = slot, None, ("DatasetError", str(error))
            except Exception:
                reply = slot, None, ("other", traceback.format_exc())
            connection.send(reply)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the training process is gone or has no more use for this one
