"""A recorder without a GPU: it writes down torch's operations as a CUDA graph would, and does them again on the same
memory. What a step does besides, in Python, is then missing, as it is on a GPU."""

from __future__ import annotations

import contextlib
from typing import Any, Dict, Iterator, List, Optional, Tuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sb3_isaac.contract.recorder import Part, Recorder
from sb3_isaac.engine.cpu import CpuEngine


class Tape(TorchDispatchMode):
    """Writes operations down. They are done, so that there is something to go on with; :meth:`undo` takes that back."""

    def __init__(self) -> None:
        super().__init__()
        self._operations: List[Tuple[Any, Any, Any, Any]] = []
        self._before: Dict[int, Tuple[torch.Tensor, torch.Tensor]] = {}
        self._generators: Dict[int, Tuple[torch.Generator, torch.Tensor]] = {}
        self.length = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        with self._saved(func, args, kwargs):
            result = func(*args, **kwargs)
        self._operations.append((func, args, kwargs, result))
        self.length += 1
        return result

    @contextlib.contextmanager
    def _saved(self, func: Any, args: Any, kwargs: Any) -> Iterator[None]:
        given = {**dict(zip((a.name for a in func._schema.arguments), args)), **kwargs}
        for argument in func._schema.arguments:
            if argument.alias_info is not None and argument.alias_info.is_write:
                for tensor in tree_leaves(given.get(argument.name)):
                    whole = torch.empty(0, dtype=torch.uint8).set_(tensor.untyped_storage())
                    self._before.setdefault(whole.data_ptr(), (whole, whole.clone()))
        generator = given.get("generator")
        if generator is not None:
            self._generators.setdefault(id(generator), (generator, generator.get_state()))
        yield

    def undo(self) -> None:
        for whole, before in self._before.values():
            whole.copy_(before)
        for generator, state in self._generators.values():
            generator.set_state(state)
        self._before.clear()

    def replay(self) -> None:
        with torch._C._AutoDispatchBelowAutograd():  # type: ignore[attr-defined]  # as they came here
            for func, args, kwargs, result in self._operations:
                for own, value in zip(tree_leaves(result), tree_leaves(func(*args, **kwargs))):
                    if isinstance(own, torch.Tensor) and own.data_ptr() != value.data_ptr():
                        own.copy_(value)


class TapeRecorder(Recorder):
    """Records onto tapes, on a CPU."""

    def __init__(self) -> None:
        super().__init__(torch.device("cpu"))
        self.tapes: List[Tape] = []

    @contextlib.contextmanager
    def _capturing(self) -> Iterator[None]:
        self._tape: Optional[Tape] = None
        self.tapes = []
        random = torch.get_rng_state()
        try:
            yield
        finally:
            if self._tape is not None:
                self._tape.__exit__(None, None, None)
            for tape in reversed(self.tapes):
                tape.undo()
            torch.set_rng_state(random)

    def _begin(self) -> None:
        self._tape = Tape()
        self.tapes.append(self._tape)
        self._tape.__enter__()

    def _end(self) -> None:
        assert self._tape is not None and self._parts is not None
        self._tape.__exit__(None, None, None)
        self._parts.append(self._tape.replay)
        self._tape = None

    def _give_up(self) -> None:
        pass


class RecordedEngine(CpuEngine):
    """A CpuEngine whose physics stands between recorded parts, as a GPU's engine has it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.recorder: Any = TapeRecorder()
        recorder = self.recorder
        super().__init__(*args, **kwargs)
        self.recorder = recorder

    __module__ = "mujoco"  # what it does in Python is done at each repetition: it is not looked into

    def step(self, ctrl: torch.Tensor, nstep: int) -> None:
        self.recorder.outside(lambda: super(RecordedEngine, self).step(ctrl, nstep))

    def reset(self, *args: Any) -> None:
        self.recorder.outside(lambda: super(RecordedEngine, self).reset(*args))

    def write(self, *args: Any, **kwargs: Any) -> None:
        self.recorder.outside(lambda: super(RecordedEngine, self).write(*args, **kwargs))

    def set_model_field(self, *args: Any) -> None:
        self.recorder.outside(lambda: super(RecordedEngine, self).set_model_field(*args))


def work(part: Part) -> int:
    """How many operations a recorded part does."""
    return len(part.__self__._operations) if isinstance(getattr(part, "__self__", None), Tape) else 1
