"""What callbacks ask of a model: where it stands, and which episodes it logs."""

from __future__ import annotations

from typing import Any, Mapping


def iteration_of(model: Any) -> int:
    """Iterations behind `model`: its transitions over those of one rollout."""
    return int(model.num_timesteps // (model.n_steps * model.n_envs))


def share_episodes(model: Any, values: Mapping[str, float]) -> None:
    """SB3 logs the mean of its buffer of episodes: put the mean over all of this rollout's there."""
    if "rollout/ep_rew_mean" in values and model.ep_info_buffer is not None:
        model.ep_info_buffer.clear()
        model.ep_info_buffer.append({"r": values["rollout/ep_rew_mean"], "l": values["rollout/ep_len_mean"]})
