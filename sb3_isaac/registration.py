"""Registration of the environment ids with Gymnasium, by strings: nothing heavy is imported before ``make``."""

from __future__ import annotations

import gymnasium

from sb3_isaac.ids import TASKS


def register_all() -> None:
    """Make every id of ``TASKS`` known to ``gymnasium.make`` and ``make_vec``; ids already registered stay.

    There is no ``max_episode_steps``: a task ends its own episodes and says which of them ran out of time.
    """
    for env_id in TASKS:
        if env_id not in gymnasium.registry:
            gymnasium.register(env_id, entry_point="sb3_isaac.gym_env:IsaacEnv",
                               vector_entry_point="sb3_isaac.gym_env:IsaacVectorEnv", kwargs={"env_id": env_id})
