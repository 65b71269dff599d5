"""256 robots and stock Stable-Baselines3: `python examples/stock_sb3.py` (some minutes on two cores)."""

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecNormalize

from sb3_isaac import AdaptiveLearningRate, IsaacVecEnv

env = VecNormalize(IsaacVecEnv("IsaacQuadrupedFlat-v0", num_envs=256))
nets = {"net_arch": [256, 128, 64], "activation_fn": torch.nn.ELU, "log_std_init": -1.4}
model = PPO("MlpPolicy", env, 1e-3, n_steps=24, n_epochs=5, batch_size=1536, policy_kwargs=nets, verbose=1)
model.learn(1_500_000, callback=AdaptiveLearningRate(desired_kl=0.03))
model.save("quadruped")
env.save("quadruped_vecnormalize.pkl")
