"""Any batched simulation that is a TensorEnv trains the same way: here a double pendulum, in pure torch.

`python examples/bring_your_own_env.py` balances it in about half a minute. For one of your own see `Cart` in
`examples/my_tasks.py`, which needs `reset` and `step` alone, and `docs/own_task.md`.
"""

import sys

from stable_baselines3 import PPO

from sb3_isaac import IsaacVecEnv
from sb3_isaac.tasks.double_pendulum import DoublePendulum

steps = int(float(sys.argv[1])) if len(sys.argv) > 1 else 150_000
env = IsaacVecEnv(DoublePendulum(num_envs=64, seed=0))
model = PPO("MlpPolicy", env, n_steps=32, batch_size=512, n_epochs=5, gamma=0.98, learning_rate=1e-3, seed=0)
model.learn(steps)
lengths = [episode["l"] for episode in model.ep_info_buffer]
print(f"the last {len(lengths)} episodes lasted {sum(lengths) / len(lengths):.0f} of 500 steps")
