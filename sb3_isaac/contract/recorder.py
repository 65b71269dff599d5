"""Work of a GPU that is recorded once, as CUDA graphs, and then done again without Python telling each part of it."""

from __future__ import annotations

import contextlib
import gc
import warnings
from typing import Any, Callable, Iterator, List, Optional, Sequence, Tuple

import torch

Part = Callable[[], None]


class Recorder:
    """Records what a function does on a GPU, without doing it, as parts that do it as often as they are called.

    What torch cannot record, such as a graph of another library, is given to :meth:`outside`: it is called as it is,
    between two graphs of torch's work before and after it.

    :param device: the GPU.
    :param enabled: False where nothing is to be recorded: :meth:`outside` calls what it is given.
    """

    def __init__(self, device: torch.device, enabled: bool = True) -> None:
        self.device, self.enabled = device, enabled
        self.version = 0
        """What was recorded at another version is out of date, see :meth:`forget`."""
        self._parts: Optional[List[Part]] = None
        self._failed: List[Any] = []

    @property
    def recording(self) -> bool:
        """Whether a function is being recorded at this moment."""
        return self._parts is not None

    def forget(self) -> None:
        """All that was recorded is out of date: something else than the content of a tensor has changed."""
        self.version += 1

    def outside(self, work: Part) -> None:
        """Do `work`; where a function is being recorded, not now, but in its place whenever that is done again."""
        if self._parts is None:
            work()
            return
        self._end()
        self._parts.append(work)
        self._begin()

    def record(self, function: Callable[[], Any], generators: Sequence[torch.Generator] = ()) -> Tuple[List[Part], Any]:
        """The parts of `function`, and what it gives: tensors that the parts write.

        :param generators: random generators on the GPU, besides torch's own, that it draws from: each repetition goes
            on with their numbers.
        :raises RuntimeError: where it does what cannot be recorded. It has not been done then.
        """
        self._parts, self._generators = [], tuple(generators)
        try:
            with self._capturing():
                self._begin()
                try:
                    result = function()
                except BaseException:
                    self._give_up()
                    raise
                self._end()
            return self._parts, result
        finally:
            self._parts = None

    @contextlib.contextmanager
    def _capturing(self) -> Iterator[None]:
        self._pool = torch.cuda.graph_pool_handle()  # its own: other recordings are done in any order
        stream = torch.cuda.Stream(self.device)
        stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.device(self.device), torch.cuda.stream(stream), no_collection():
            yield

    def _begin(self) -> None:
        self._graph = torch.cuda.CUDAGraph()
        for generator in self._generators:
            self._graph.register_generator_state(generator)
        self._graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")

    def _end(self) -> None:
        assert self._parts is not None
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*CUDA Graph is empty")
            self._graph.capture_end()
        self._parts.append(self._graph.replay)

    def _give_up(self) -> None:
        """End a recording that failed, so that work goes on without one."""
        with contextlib.suppress(RuntimeError):  # that it failed is known
            self._end()
        self._failed.append(self._graph)  # torch still asks it which memory is its own
        for generator in (*self._generators, torch.cuda.default_generators[torch.cuda.current_device()]):
            generator.graphsafe_set_state(generator.clone_state())  # which is not that of a recording


@contextlib.contextmanager
def no_collection() -> Iterator[None]:
    """No garbage collection: it would free GPU memory in the midst of a recording, which ends it."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
