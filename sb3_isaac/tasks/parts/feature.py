"""Features are computed when they are first used, and once."""

from __future__ import annotations

from typing import Any, Callable, Generic, TypeVar, Union, overload

T = TypeVar("T")


class feature(Generic[T]):  # a decorator, as functools.cached_property is
    """``functools.cached_property`` without the lock that Python before 3.12 takes at each first use.

    A step computes tens of features, and the lock took a twentieth of the time of a task with few robots.
    """

    def __init__(self, compute: Callable[[Any], T]) -> None:
        self._compute, self.__doc__ = compute, compute.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> feature[T]: ...

    @overload
    def __get__(self, instance: object, owner: type) -> T: ...

    def __get__(self, instance: Any, owner: type) -> Union[feature[T], T]:
        if instance is None:
            return self
        value = instance.__dict__[self._name] = self._compute(instance)  # found there before this is asked again
        return value


class state_feature(feature[T]):
    """A feature of the simulation's state alone: the same as long as nothing is simulated, placed or pushed."""


def keep_state_features(features: Any, of: Any) -> None:
    """Give `features` what `of` has computed already of the same state."""
    for name, value in vars(of).items():
        if isinstance(getattr(type(of), name, None), state_feature):
            vars(features)[name] = value
