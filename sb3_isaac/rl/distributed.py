"""Data-parallel training: what the processes of one training, its ranks, do together.

Each rank simulates its own robots; gradients, statistics and decisions are those of all. Every function here has to be
called on all ranks, in the same order. Without a group of ``torch.distributed`` there is one rank, and each function
gives back what it was given.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import re
from typing import Any, Callable, Dict, Iterator, List, Tuple, TypeVar

import torch
from torch import distributed, nn

from sb3_isaac.contract.errors import UserError, brief

T = TypeVar("T")
LONGEST_WAIT = datetime.timedelta(hours=1)
"""How long a rank waits for the others: while one evaluates, or compiles."""


@contextlib.contextmanager
def joined() -> Iterator[None]:
    """In this block the process belongs to the group that ``torchrun`` has started it for; nothing without torchrun.

    Tensors on the CPU are exchanged by gloo, those on GPUs by NCCL. Each rank of a machine takes one of its GPUs.

    :raises UserError: when the other ranks do not answer, or the machine has fewer GPUs than ranks.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or "RANK" not in os.environ or world_size() > 1:
        yield
        return
    from torch.distributed.rendezvous import rendezvous  # not in every build of torch

    gpus, local_rank = torch.cuda.device_count(), int(os.environ.get("LOCAL_RANK", "0"))
    if gpus and local_rank >= gpus:
        raise UserError(f"torchrun started more processes than the {gpus} GPUs of this machine: give "
                        f"--nproc-per-node {gpus}.")
    if gpus:
        torch.cuda.set_device(local_rank)
    with _connected():
        store, number, ranks = next(iter(rendezvous("env://", timeout=LONGEST_WAIT)))
        # Addresses of a start before a failure may still stand in the store.
        attempt = distributed.PrefixStore(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"), store)
        distributed.init_process_group("cpu:gloo,cuda:nccl" if gpus else "gloo", store=attempt, rank=number,
                                       world_size=ranks, timeout=LONGEST_WAIT)
        distributed.barrier()
    yield  # after an error the process ends, which tells the others
    distributed.destroy_process_group()


def world_size() -> int:
    """Processes of this training."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def rank() -> int:
    """Which of them this is, from 0; rank 0 writes files and speaks."""
    return distributed.get_rank() if world_size() > 1 else 0


@contextlib.contextmanager
def _connected() -> Iterator[None]:
    """What torch raises where a rank has ended, in one sentence."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        why = re.sub(r"^\[\S+\]\s*", "", str(error).splitlines()[0]).split(". ")[0][:100]  # without the place in torch
        raise UserError(f"another process of this training ended or cannot be reached ({why}): its own message says "
                        "why; torchrun with as many processes and 'train -i RUN' goes on from the last checkpoint."
                        ) from error


def total(tensor: torch.Tensor) -> torch.Tensor:
    """The sum of `tensor` over all ranks, a new tensor."""
    if world_size() > 1:
        tensor = tensor.clone()
        with _connected():
            distributed.all_reduce(tensor)
    return tensor


def mean(tensor: torch.Tensor) -> torch.Tensor:
    """The mean of `tensor` over all ranks."""
    return total(tensor) / world_size() if world_size() > 1 else tensor


def largest(number: int) -> int:
    """The largest of the ranks' numbers, known without waiting for a GPU."""
    if world_size() > 1:
        value = torch.tensor(number)
        with _connected():
            distributed.all_reduce(value, distributed.ReduceOp.MAX)
        number = int(value)
    return number


def copy_from_first(module: nn.Module) -> None:
    """Give `module` the parameters and buffers that it has on rank 0."""
    if world_size() > 1:
        with torch.no_grad(), _connected():
            for tensor in module.state_dict(keep_vars=True).values():
                distributed.broadcast(tensor.data, 0)


def mean_and_std(values: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation, with Bessel's correction, of the values (B,) of all ranks together."""
    if world_size() == 1:
        return values.mean(), values.std()
    of_all, variance, count = merged_moments(values.mean(), values.var(correction=0), len(values))
    return of_all.to(values.dtype), (variance * (count / (count - 1))).sqrt().to(values.dtype)


def merged_moments(batch_mean: torch.Tensor, batch_var: torch.Tensor,
                   count: int) -> Tuple[torch.Tensor, torch.Tensor, int]:
    """Mean, variance and count of the batches of all ranks, each of `count` rows, from those of this rank's.

    The variance of all is the mean of the variances plus the variance of the means.
    """
    if world_size() == 1:
        return batch_mean, batch_var, count
    moments = torch.stack((batch_mean, batch_var)).double()
    of_all, variance = mean(torch.stack((moments[0], moments[1] + moments[0].square())))
    return of_all, (variance - of_all.square()).clamp_(min=0.0), count * world_size()


def from_first(make: Callable[[], T]) -> T:
    """What `make` gives on rank 0, on every rank; where it raises there, rank 0 says why and all of them end."""
    if world_size() == 1:
        return make()
    shared: List[Any] = [False, None]
    try:
        if rank() == 0:
            shared = [True, make()]
    finally:
        with _connected():
            distributed.broadcast_object_list(shared, 0)
    if not shared[0]:
        raise SystemExit(2)
    made: T = shared[1]
    return made


def gathered(value: T) -> List[T]:
    """The ranks' values in order, on rank 0; nothing on the others."""
    if world_size() == 1:
        return [value]
    values: Any = [None] * world_size() if rank() == 0 else None
    with _connected():
        distributed.gather_object(value, values, 0)
    return values or []


def check_same(settings: Dict[str, Any]) -> None:
    """Refuse ranks that were started with other settings than rank 0.

    :raises UserError: which names the first setting that differs, on rank 0.
    """
    first, *others = gathered(settings) or [settings]

    def compare() -> None:
        """On rank 0, which alone has the settings of all."""
        for number, other in enumerate(others, start=1):
            for name in first:
                if other.get(name) != first[name]:
                    raise UserError(f"process {number} of this training was started with {name} "
                                    f"{brief(other.get(name))} and process 0 with {brief(first[name])}: give the same "
                                    "command on every machine.")

    from_first(compare)
