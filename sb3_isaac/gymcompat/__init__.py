"""Isaac Gym's tensor API, emulated on our engine: programs written for ``isaacgym`` run where NVIDIA's package cannot.

The physics is MuJoCo's, not PhysX: see ``docs/isaacgym.md`` for what is equal, close and different. Names and
signatures are those that the MIT-licensed ``isaacgym-stubs`` list; nothing of NVIDIA's package is in here.

From below: ``enums``, ``values``, ``structs`` (what clients fill in) → ``urdf``, ``mjcf``, ``asset`` (one robot) →
``actors`` (the robots of an environment), ``ground``, ``scene`` (one environment as one MuJoCo model) → ``properties``
(what differs between environments), ``tensors`` (the state of all) → ``sim`` → ``gym`` (the facade) → ``gymapi``.
"""

from __future__ import annotations

from sb3_isaac.gymcompat.install import install

__all__ = ["install"]
