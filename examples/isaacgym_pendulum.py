"""A program for Isaac Gym's tensor API, which knows nothing of sb3_isaac: 64 poles swing from rest to rest.

    sb3-isaac run examples/isaacgym_pendulum.py --num_envs 64

See docs/tutorials/isaacgym.md.
"""

import os
import tempfile

from isaacgym import gymapi, gymtorch, gymutil  # before torch, as Isaac Gym wants it

import torch  # isort: skip

POLE = """<robot name="pole"><link name="base"/>
  <link name="pole"><inertial><origin xyz="0 0 -0.5"/><mass value="1"/>
    <inertia ixx="0.01" iyy="0.01" izz="0.01" ixy="0" ixz="0" iyz="0"/></inertial></link>
  <joint name="hinge" type="continuous"><parent link="base"/><child link="pole"/><axis xyz="0 1 0"/></joint></robot>"""


def main(steps=100):
    args = gymutil.parse_arguments(custom_parameters=[{"name": "--num_envs", "type": int, "default": 64}])
    gym, params = gymapi.acquire_gym(), gymapi.SimParams()
    params.dt, params.up_axis, params.gravity = 0.01, gymapi.UP_AXIS_Z, gymapi.Vec3(0.0, 0.0, -9.81)
    sim = gym.create_sim(args.compute_device_id, args.graphics_device_id, args.physics_engine, params)
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "pole.urdf"), "w") as file:
            file.write(POLE)
        options = gymapi.AssetOptions()
        options.fix_base_link = True
        asset = gym.load_asset(sim, folder, "pole.urdf", options)
    for i in range(args.num_envs):
        env = gym.create_env(sim, gymapi.Vec3(-1, -1, 0), gymapi.Vec3(1, 1, 2), 8)
        gym.create_actor(env, asset, gymapi.Transform(p=gymapi.Vec3(0, 0, 2)), "pole", i, 1)
    gym.prepare_sim(sim)
    dofs = gymtorch.wrap_tensor(gym.acquire_dof_state_tensor(sim)).view(args.num_envs, 2)  # angle, speed
    dofs[:, 0] = torch.linspace(0.1, 1.0, args.num_envs)
    dofs[:, 1] = 0.0
    gym.set_dof_state_tensor(sim, gymtorch.unwrap_tensor(dofs))
    for _ in range(steps):
        gym.simulate(sim)
        gym.fetch_results(sim, True)
        gym.refresh_dof_state_tensor(sim)
    print(f"after {steps * params.dt:.2f} s the poles are at {dofs[0, 0]:.3f} to {dofs[-1, 0]:.3f} rad")
    return dofs.clone()


if __name__ == "__main__":
    main()
