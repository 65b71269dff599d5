"""Processes: each worker is one, with its share of the cores and a GPU of its own."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from sb3_isaac.contract.errors import UserError
from sb3_isaac.tuning.interrupts import Interrupts

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
GPUS = "CUDA_VISIBLE_DEVICES"


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

    :raises UserError: when none of them came to its end.
    :raises KeyboardInterrupt: when one of them, or this process, was interrupted; all have ended then.
    """
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    gpus, context = visible_gpus(), multiprocessing.get_context("spawn")
    processes = []
    for index, share in enumerate(shares(cores, workers)):
        process = context.Process(target=_in_process, args=(work, index, share), name=f"worker {index}")
        with _environment(variables(index, len(share), gpus, os.environ)):
            process.start()
        processes.append(process)
    interrupts = Interrupts()
    with interrupts.held():
        _wait(processes, interrupts)
    codes = [process.exitcode for process in processes]
    interrupts.check()
    if 130 in codes:
        raise KeyboardInterrupt
    if not any(code == 0 for code in codes):
        raise UserError(f"none of the {workers} workers could finish: what they completed is in the storage, so "
                        "correct what they report and give the same line to go on.")


def _wait(processes: Sequence[Any], interrupts: Interrupts) -> None:
    """Wait for all; an interrupt is passed on to them."""
    forwarded = False
    for process in processes:
        while process.exitcode is None:
            process.join(0.2)
            if interrupts.asked and not forwarded:
                forwarded = True
                for other in processes:
                    # Not by SIGINT: the terminal has sent it to them already, and a second one ends them at once.
                    other.terminate()
        if process.exitcode < 0:
            print(f"sb3-isaac: {process.name} was killed by signal {-process.exitcode}; its trial goes to another "
                  "worker when it has sent no heartbeat for long enough.", file=sys.stderr, flush=True)


def _in_process(work: Callable[[int, int], None], index: int, share: List[int]) -> None:
    """A worker process: the cores of its share, and one sentence for what goes wrong."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, share)
    try:
        work(index, len(share))
    except UserError as error:
        print(f"sb3-isaac: worker {index}: {error}", file=sys.stderr, flush=True)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


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
