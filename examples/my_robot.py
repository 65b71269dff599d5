"""A robot of one's own, from its file: `python examples/my_robot.py [FILE]`; see docs/tutorials/my_robot.md."""

import sys
from pathlib import Path

import torch

from sb3_isaac import PPO, IsaacVecEnv, Robot, VecNormalize

FILE = Path(__file__).with_name("my_robot.xml")


def main(file=FILE, num_envs=256, steps=1_500_000):
    robot = Robot.from_file(file, action_scale_rad=0.4)  # the rest is what the file tells
    env = IsaacVecEnv("IsaacQuadrupedFlat-v0", num_envs=num_envs, seed=0, robot=robot, stagger=False)
    env.reset_tensor()
    for _ in range(100):  # 2 s of an action of zeros, which is the default pose
        step = env.step_tensor(torch.zeros(num_envs, len(robot.joints)))
    height, feet = step.log["trunk_height_m"].mean(), step.log["foot_contact"].float().mean()
    print(f"{robot.name}: {len(robot.joints)} joints, trunk at {height:.2f} m, {feet:.0%} of the feet on the ground")
    model = PPO("MlpPolicy", VecNormalize(env), learning_rate=1e-3, n_steps=24, n_epochs=5,
                batch_size=num_envs * 24 // 4, desired_kl=0.03, policy_kwargs={"log_std_init": -1.4}, seed=0, verbose=1)
    model.learn(steps)
    env.close()
    return robot, float(height), float(feet)


if __name__ == "__main__":
    main(*sys.argv[1:])
