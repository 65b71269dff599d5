"""Features are computed when they are first used, and once."""

from __future__ import annotations

from typing import Any, Callable, Generic, Optional, Sequence, Tuple, TypeVar, Union, overload

import torch

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


class step_feature(feature[T]):
    """A feature of the step that led to the state: a rate, what has landed, what adds up. It is computed by what is
    remembered of the step before, so once this step is remembered it is taken over, see :class:`StepFeatures`."""


class StepFeatures:
    """The step features that observations ask for, as the step has them: later they could not be computed any more.

    :param names: which these are, see :func:`step_features_in`.
    """

    def __init__(self, names: Sequence[str], features: Any) -> None:
        self._values = {name: getattr(features, name) for name in names}

    def give(self, features: Any, began: Optional[torch.Tensor] = None) -> Any:
        """Let `features` of the same state, or of one in which episodes of the environments of `began` (N,) bool have
        begun since, have them; where one has begun, a step feature is that of its first state."""
        for name, value in self._values.items():
            if began is not None:
                own = getattr(features, name)
                value = torch.where(began.reshape(-1, *[1] * (own.dim() - 1)), own, value)
            vars(features)[name] = value
        return features


def step_features_in(features: Any) -> Tuple[str, ...]:
    """The names of the step features that `features` has computed."""
    return tuple(name for name in vars(features) if isinstance(getattr(type(features), name, None), step_feature))


def keep_state_features(features: Any, of: Any) -> None:
    """Give `features` what `of` has computed already of the same state."""
    for name, value in vars(of).items():
        if isinstance(getattr(type(of), name, None), state_feature):
            vars(features)[name] = value
