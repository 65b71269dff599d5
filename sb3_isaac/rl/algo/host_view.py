"""Tensors that are numpy arrays to those who look at them, and cost nothing while nobody does."""

from __future__ import annotations

from typing import Any, Callable

import torch


def on_host(value: Any) -> Any:
    """A tensor, or a dict of them, as numpy: the same memory on a CPU, else a copy. Anything else stays as it is."""
    if isinstance(value, dict):
        return {key: on_host(part) for key, part in value.items()}
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else value


def own_arrays(value: Any) -> Any:
    """Tensors as numpy arrays of their own, also in a dict; anything else as it is."""
    if isinstance(value, dict):
        return {key: own_arrays(part) for key, part in value.items()}
    return value.cpu().numpy().copy() if isinstance(value, torch.Tensor) else value


def copied(value: Any) -> Any:
    """A copy of a tensor, or of a dict of them."""
    return {key: part.clone() for key, part in value.items()} if isinstance(value, dict) else value.clone()


class Lazy:
    """A value that `make` gives when it is first asked for; from then on it is that same object."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make, self._value, self.made = make, None, False

    def get(self) -> Any:
        """The value."""
        if not self.made:
            self._value, self.made = self._make(), True
        return self._value

    def __repr__(self) -> str:
        return repr(self.get())


class HostView(Lazy):
    """A tensor, or a dict of them, as numpy arrays that may be changed: ``write_back`` makes the tensors follow."""

    def __init__(self, tensors: Any) -> None:
        super().__init__(lambda: on_host(tensors))
        self._tensors = tensors

    def write_back(self) -> None:
        """Give the tensors what the arrays hold, if they were looked at. On a CPU they are the same memory already."""
        if self.made:
            _write_back(self._tensors, self._value)


def _write_back(tensors: Any, arrays: Any) -> None:
    if isinstance(tensors, dict):
        for key, part in tensors.items():
            _write_back(part, arrays[key])
    elif tensors.device.type != "cpu":
        tensors.copy_(torch.as_tensor(arrays))


class ReadAsNumpy:
    """An attribute that is set to tensors, and is numpy from when it is first read, as SB3's users expect it."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is None:
            return self
        if self._name not in vars(instance):
            raise AttributeError(f"{type(instance).__name__} has no {self._name} yet")
        value = vars(instance)[self._name] = on_host(vars(instance)[self._name])
        return value

    def __set__(self, instance: Any, value: Any) -> None:
        vars(instance)[self._name] = value
