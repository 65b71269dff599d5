"""A reward term of one's own, to walk crouched: `python examples/my_reward.py`; see docs/tutorials/my_reward.md."""

import torch

from sb3_isaac import PPO, IsaacVecEnv, TrainingLog, VecNormalize

HEIGHT_M, WIDTH_M = 0.22, 0.05


def crouch(f):
    """1 with the trunk 0.22 m above the ground, 0.37 where it is 5 cm off, as far as the command is held, (N,)."""
    return f.tracking * torch.exp(-((f.trunk_height - HEIGHT_M) / WIDTH_M).square())


def main(num_envs=256, steps=1_500_000):
    env = IsaacVecEnv("IsaacQuadrupedFlat-v0", num_envs=num_envs, seed=0, reward={"crouch": (0.5, crouch)})
    log = TrainingLog()
    model = PPO("MlpPolicy", VecNormalize(env), learning_rate=1e-3, n_steps=24, n_epochs=5,
                batch_size=num_envs * 24 // 4, desired_kl=0.03, policy_kwargs={"log_std_init": -1.4}, seed=0, verbose=1)
    model.learn(steps, callback=log)
    print(f"a step earns {log.values['reward/crouch']:.2f} of 0.5 for crouching, "
          f"at {log.values['rollout/forward_speed']:.2f} m/s")
    env.close()
    return log.values


if __name__ == "__main__":
    main()
