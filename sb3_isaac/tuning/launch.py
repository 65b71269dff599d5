"""Processes: each worker is one, with its share of the cores and a GPU of its own."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from sb3_isaac.contract.errors import UserError
from sb3_isaac.contract.signals import NUMBERS, Interrupted, Interrupts, raising

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
GPUS = "CUDA_VISIBLE_DEVICES"
SECONDS_TO_END = 2.0
"""How long workers have to put their trials back where a second signal ends the study at once."""


def shares(cores: Sequence[int], workers: int) -> List[List[int]]:
    """Cores for each worker: equal shares, or one core each, shared, where there are fewer cores than workers."""
    size = max(1, len(cores) // workers)
    return [[cores[(k * size + i) % len(cores)] for i in range(size)] for k in range(workers)]


def variables(index: int, threads: int, gpus: Sequence[str], environment: Mapping[str, str]) -> Dict[str, str]:
    """The environment variables of worker `index`: its threads, but no more than were allowed, and one of `gpus`."""
    made = {name: str(min(threads, int(environment[name]))) if environment.get(name, "").isdigit() else str(threads)
            for name in THREAD_VARIABLES}
    return {**made, **({GPUS: gpus[index % len(gpus)]} if gpus else {})}


def visible_gpus() -> List[str]:
    """The GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` names them."""
    if GPUS in os.environ:
        return [name for name in os.environ[GPUS].split(",") if name.strip() not in ("", "-1")]
    import torch

    return [str(k) for k in range(torch.cuda.device_count())]


def run_in_processes(work: Callable[[int, int], None], workers: int) -> None:
    """``work(index, threads)`` in so many spawned processes; `work` can be pickled.

    A signal to this process is passed on to them; a second one ends them and it.

    :raises UserError: when none of them came to its end.
    :raises Interrupted: when a signal ended one of them, or came to this process; all have ended then.
    """
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    gpus, context = visible_gpus(), multiprocessing.get_context("spawn")
    processes: List[Any] = []
    interrupts = Interrupts(lambda _: _end(processes))
    try:
        with interrupts.held():
            for index, share in enumerate(shares(cores, workers)):
                process = context.Process(target=_in_process, args=(work, index, share), name=f"worker {index}")
                with _environment(variables(index, len(share), gpus, os.environ)), _blocked_signals():
                    process.start()
                    processes.append(process)
            _wait(processes, interrupts)
    except KeyboardInterrupt:
        _end(processes)
        for process in processes:
            process.join(SECONDS_TO_END)
            process.kill()
        raise
    codes = [process.exitcode for process in processes]
    interrupts.check()
    for number in NUMBERS:
        if Interrupted(number).exit_code in codes:
            raise Interrupted(number)
    if not any(code == 0 for code in codes):
        raise UserError(f"none of the {workers} workers could finish: what they completed is in the storage, so "
                        "correct what they report and give the same line to go on.")


def _end(processes: Sequence[Any]) -> None:
    """Ask all to end, by the one signal that is not blocked in them."""
    for process in processes:
        process.terminate()


@contextlib.contextmanager
def _blocked_signals() -> Iterator[None]:
    """Signals wait until the block ends. A process started in it never gets them, nor does it get Ctrl-C, which a
    terminal sends to all its processes, or a terminal's end: its parent does, and sends SIGTERM."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, NUMBERS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _wait(processes: Sequence[Any], interrupts: Interrupts) -> None:
    """Wait for all, and say which were killed."""
    alive = list(processes)
    while alive:
        for process in alive[:]:
            process.join(0.2)  # not for ever: on Windows that would keep signals waiting
            if process.exitcode is None:
                continue
            alive.remove(process)
            if process.exitcode < 0 and not (interrupts.asked and process.exitcode == -signal.SIGTERM):
                print(f"sb3-isaac: {process.name} was killed by signal {-process.exitcode}; its trial goes to another "
                      "worker when it has sent no heartbeat for long enough.", file=sys.stderr, flush=True)


def _in_process(work: Callable[[int, int], None], index: int, share: List[int]) -> None:
    """A worker process: the cores of its share, and one sentence for what goes wrong."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, share)
    try:
        with raising():
            if hasattr(signal, "pthread_sigmask"):
                signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
            work(index, len(share))
    except UserError as error:
        print(f"sb3-isaac: worker {index}: {error}", file=sys.stderr, flush=True)
        sys.exit(2)
    except Interrupted as error:
        sys.exit(error.exit_code)


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Environment variables for what is started in the block: thread pools are sized when torch is imported."""
    before: Tuple[Tuple[str, Optional[str]], ...] = tuple((name, os.environ.get(name)) for name in values)
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before:
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
