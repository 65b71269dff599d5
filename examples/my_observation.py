"""An observation of one's own: touch sensors on the feet. `python examples/my_observation.py`; see
docs/tutorials/my_observation.md.
"""

from sb3_isaac import PPO, IsaacVecEnv, VecNormalize
from sb3_isaac.tasks.parts.mirror import mirrors_as


@mirrors_as("feet")
def touch(f):
    """Which feet touch the ground, (N, 4), 0 or 1."""
    return f.foot_contact.float()


def main(num_envs=256, steps=1_500_000):
    env = IsaacVecEnv("IsaacQuadrupedFlat-v0", num_envs=num_envs, seed=0, observation={"policy": {"touch": touch}})
    widths = env.env.metadata()["obs_table"]
    print(f"the policy sees {env.observation_space.shape[0]} numbers: {widths}")
    model = PPO("MlpPolicy", VecNormalize(env), learning_rate=1e-3, n_steps=24, n_epochs=5,
                batch_size=num_envs * 24 // 4, desired_kl=0.03, policy_kwargs={"log_std_init": -1.4}, seed=0, verbose=1)
    model.learn(steps)
    env.close()
    return widths


if __name__ == "__main__":
    main()
