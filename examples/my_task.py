"""A task from nothing: the cart of my_tasks.py, checked and trained. `python examples/my_task.py`, half a minute; see
docs/tutorials/my_task.md.
"""

from my_tasks import Cart

from sb3_isaac import PPO, IsaacVecEnv, TrainingLog
from sb3_isaac.testing import check_tensor_env


def main(num_envs=64, steps=150_000):
    check_tensor_env(Cart(num_envs=4))  # an error with a sentence, if the task breaks the contract
    env = IsaacVecEnv(Cart(num_envs), seed=0)
    log = TrainingLog()
    model = PPO("MlpPolicy", env, n_steps=32, batch_size=512, n_epochs=5, gamma=0.98, learning_rate=1e-3, seed=0)
    model.learn(steps, callback=log)
    print(f"reward of an episode: {log.values['rollout/ep_rew_mean']:.0f} of {Cart.max_steps}")
    env.close()
    return log.values


if __name__ == "__main__":
    main()
