"""What a task says of its mirror image: the kinds of observations there are, and what each becomes.

============ ======================================================================== ==================
kind         what                                                                     becomes
============ ======================================================================== ==================
same         looks the same in a mirror: a height, a forward speed                    x
opposite     changes its sign: a sideways speed, a yaw rate                           −x
vector       a vector (x, y, z) in the body's frame: a velocity, a direction          (x, −y, z)
axial        an angular velocity or torque in the body's frame                        (−x, y, −z)
joints       a number of each joint, along its axis: angles, speeds, torques, actions of the joint's partner
feet         a number of each foot                                                    of its partner
command      the task's command, each axis as it says itself                          axis by axis
============ ======================================================================== ==================
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Mapping, Optional, TypeVar, Union

from sb3_isaac.contract.errors import UserError, unknown
from sb3_isaac.contract.mirror import Mirror
from sb3_isaac.tasks.parts.command import Axis

Kind = Union[str, Mirror]
F = TypeVar("F", bound=Callable[..., Any])
EVERYWHERE: Dict[str, Mirror] = {"same": Mirror((0,), (1,)), "opposite": Mirror((0,), (-1,)),
                                 "vector": Mirror((0, 1, 2), (1, -1, 1)), "axial": Mirror((0, 1, 2), (-1, 1, -1))}
"""Kinds that every task has; a vector of several numbers of a kind is one after another."""


def mirrors_as(kind: Kind) -> Callable[[F], F]:
    """Decorates an observation of one's own with its kind: ``@mirrors_as("same")``."""
    def say(function: F) -> F:
        function.mirror = kind  # type: ignore[attr-defined]
        return function
    return say


def term_mirror(kind: Optional[Kind], width: int, what: str, kinds: Mapping[str, Mirror]) -> Mirror:
    """The mirror of a term of `width` numbers; `what` says which, in errors."""
    if kind is None:
        raise UserError(f"{what} does not say how it looks in a mirror: set its function's attribute mirror to one of "
                        f"{', '.join(kinds)} or to a Mirror, or train without symmetry.")
    if isinstance(kind, str) and kind not in kinds:
        raise unknown("kind of mirror", kind, kinds, where=what)
    one = kinds[kind] if isinstance(kind, str) else kind
    count, rest = divmod(width, len(one.source))
    if rest:
        raise UserError(f"{what} has {width} numbers and its mirror {len(one.source)}: give a mirror of its width.")
    return Mirror.joined([one] * count)


def command_mirror(axes: Mapping[str, Axis]) -> Mirror:
    """Of a command with these axes."""
    for name, axis in axes.items():
        if axis.mirror not in (1, -1):
            raise UserError(f"command axis {name!r} does not say how it looks in a mirror: give Axis({axis.low:g}, "
                            f"{axis.high:g}, mirror=1) where it stays, mirror=-1 where it changes its sign, or train "
                            "without symmetry.")
    return Mirror(tuple(range(len(axes))), tuple(axis.mirror or 1 for axis in axes.values()))
