"""The options of the shipped walking tasks, as types: for editors and type checkers, nothing reads this at run time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Mapping, Optional, TypedDict, Union

if TYPE_CHECKING:
    from sb3_isaac.robots import Robot


LeggedId = Literal["IsaacQuadrupedFlat-v0", "IsaacQuadrupedVelocity-v0", "IsaacQuadrupedRough-v0",
                   "IsaacBipedVelocity-v0"]


class LeggedOptions(TypedDict, total=False):
    """Keyword options of ``IsaacQuadrupedFlat-v0``, ``-Velocity-v0``, ``-Rough-v0`` and ``IsaacBipedVelocity-v0``.

    What each means is told by :class:`~sb3_isaac.tasks.parts.legged.LeggedTask`; the flat task lacks the last three,
    and ``scan`` is of rough alone.
    """

    robot: Union[str, Mapping[str, Any], "Robot", None]
    reward: Optional[Mapping[str, Any]]
    command: Optional[Mapping[str, Any]]
    observation: Optional[Mapping[str, Any]]
    termination: Optional[Mapping[str, Any]]
    randomize: Optional[Mapping[str, Any]]
    limits: Optional[Mapping[str, Any]]
    episode_length_s: float
    stagger: bool
    physics_dt: Optional[float]
    substeps: Optional[int]
    threads: Optional[int]
    nconmax: Optional[int]
    njmax: Optional[int]
    cuda_graphs: Optional[bool]
    terrain: Optional[Mapping[str, Any]]
    privileged: bool
    render_mode: Optional[str]
    heading: bool
    clock: bool
    scan: bool
