"""Processes that a proof may kill at any moment, and what they said until then.

They are forked by a server that has imported everything already: two thousand of them would spend their lives
importing. What one says is in the pipe before it goes on, so it is heard even if that was the last thing it did.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["asyncpg", "kavach_core", "kavach_core.store.postgres", "tests.proofs.deciding"])

#: What the function of a process gets first: what it speaks into, and where it is given orders.
Mouth = Connection
Orders = Connection


class Mortal:
    """One process, which runs a function of a module until it is killed."""

    def __init__(self, work: Callable[..., None], *args: object) -> None:
        self.ear, mouth = _context.Pipe(duplex=False)
        orders, self._orders = _context.Pipe(duplex=False)
        self._process = _context.Process(target=work, args=(mouth, orders, *args), daemon=True)
        self._process.start()
        mouth.close()
        orders.close()

    @property
    def pid(self) -> int:
        """The id of the process."""
        assert self._process.pid is not None
        return self._process.pid

    def tell(self, order: object) -> None:
        """Give an order."""
        self._orders.send(order)

    def hear(self) -> Any:
        """The next thing it says. Fails if it ended by itself."""
        try:
            return self.ear.recv()
        except EOFError:
            self._process.join()
            raise AssertionError(f"a process ended by itself, with {self._process.exitcode}") from None

    def kill(self) -> list[Any]:
        """End it at once, whatever it is doing; returns what it said before that and was not heard yet."""
        self._process.kill()
        return self.await_end()

    def await_end(self) -> list[Any]:
        """Wait until it is gone; returns what it said before that and was not heard yet."""
        said: list[Any] = []
        with contextlib.suppress(EOFError):
            while True:
                said.append(self.ear.recv())
        self._process.join()
        self.ear.close()
        self._orders.close()
        self._process.close()
        return said


def hear(mortals: Sequence[Mortal], *, until: float) -> Iterator[tuple[Mortal, Any]]:
    """Whatever any of them says, as it comes, until a moment of `time.monotonic`."""
    ears = {mortal.ear: mortal for mortal in mortals}
    while (left := until - time.monotonic()) > 0:
        for ear in wait(list(ears), timeout=left):
            if isinstance(ear, Connection):
                yield ears[ear], ears[ear].hear()
