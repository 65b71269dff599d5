"""One robot through Gymnasium, driven by a trained policy: `python examples/walk_one_robot.py RUN`.

Without RUN it stands. `policy.pth` needs neither Stable-Baselines3 nor the simulator it was trained on.
"""

import sys

import gymnasium
import torch

from sb3_isaac import load_policy

command = {"forward_m_s": 1.0, "yaw_rad_s": 0.0, "resample_s": 1e6}
env = gymnasium.make("sb3_isaac:IsaacQuadrupedFlat-v0", command=command)
policy = load_policy(sys.argv[1]) if len(sys.argv) > 1 else lambda obs: torch.zeros(1, 12)
obs, _ = env.reset(seed=0)
total, done, steps = 0.0, False, 0
while not done:
    action = policy(torch.from_numpy(obs)[None])[0].numpy()
    obs, reward, terminated, truncated, _ = env.step(action)
    total, done, steps = total + reward, terminated or truncated, steps + 1
print(f"{'fell' if terminated else 'still up'} after {steps * 0.02:.1f} s, reward {total:.0f}")
env.close()
