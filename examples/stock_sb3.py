"""256 robots, stock Stable-Baselines3 and its EvalCallback: `python examples/stock_sb3.py` (some minutes on two cores);
see docs/tutorials/stock_sb3.md.
"""

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.vec_env import VecNormalize

from sb3_isaac import AdaptiveLearningRate, IsaacVecEnv

TASK = "IsaacQuadrupedFlat-v0"
AT_1_M_S = {"forward_m_s": 1.0, "yaw_rad_s": 0.0}


def main(num_envs=256, steps=1_500_000, eval_envs=32):
    env = VecNormalize(IsaacVecEnv(TASK, num_envs=num_envs, seed=0))
    # stagger=False: episodes have their full length; one command for all, so that evaluations compare.
    eval_env = VecNormalize(IsaacVecEnv(TASK, num_envs=eval_envs, seed=1, stagger=False, command=AT_1_M_S),
                            training=False, norm_reward=False)
    nets = {"net_arch": [256, 128, 64], "activation_fn": torch.nn.ELU, "log_std_init": -1.4}
    model = PPO("MlpPolicy", env, 1e-3, n_steps=24, n_epochs=5, batch_size=num_envs * 24 // 4, policy_kwargs=nets,
                seed=0, verbose=1)
    evaluation = EvalCallback(eval_env, n_eval_episodes=eval_envs, eval_freq=24 * 25, best_model_save_path="best")
    model.learn(steps, callback=[AdaptiveLearningRate(desired_kl=0.03), evaluation])
    model.save("quadruped")
    env.save("quadruped_vecnormalize.pkl")
    env.close()
    eval_env.close()
    return evaluation


if __name__ == "__main__":
    main()
