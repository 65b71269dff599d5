"""Isaac Gym's tensor API, emulated on our engine: programs written for ``isaacgym`` run where NVIDIA's package cannot.

The physics is MuJoCo's, not PhysX: see ``docs/isaacgym.md`` for what is equal, close and different. Names and
signatures are those that the MIT-licensed ``isaacgym-stubs`` list; nothing of NVIDIA's package is in here.

From below:

- ``types``: ``enums``, ``values``, ``structs``, which programs fill in.
- ``model``: ``urdf``, ``mjcf``, ``asset`` (one robot), ``actors`` (the robots of an environment), ``ground``, ``scene``
  (one environment as one MuJoCo model).
- ``runtime``: ``properties`` (what differs between environments), ``tensors`` (the state of all), ``sim`` (stepping),
  ``viewer``, ``settings`` and ``on_cpu`` (the user's choices).
- ``api``: the modules that programs import as ``isaacgym.gymapi``, ``gymtorch``, ``gymutil``, ``torch_utils`` and
  ``terrain_utils``; ``gym`` and its parts ``gym_*`` are the object that ``gymapi.acquire_gym()`` returns.

Beside them ``install`` decides what ``import isaacgym`` means, and ``audit`` lists what a program uses.
"""

from __future__ import annotations

from sb3_isaac.gymcompat.install import install

__all__ = ["install"]
