"""What a resumed run of an off-policy algorithm needs besides its checkpoint."""

from __future__ import annotations

from typing import Any

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.type_aliases import TrainFreq, TrainFrequencyUnit


class _Nothing(BaseCallback):
    def _on_step(self) -> bool:
        return True


def refill_replay_buffer(model: Any) -> None:
    """Collect ``learning_starts`` transitions by the policy as it is, without updates.

    A checkpoint holds no replay buffer, which may be of many gigabytes: SB3 would go on with an empty one, and updates
    with the first few transitions alone would spoil the policy. They count as transitions of the run.
    """
    callback = _Nothing()
    callback.init_callback(model)
    steps = -(-max(model.learning_starts, model.batch_size) // model.n_envs)
    model.collect_rollouts(model.get_env(), callback, TrainFreq(steps, TrainFrequencyUnit.STEP), model.replay_buffer)
