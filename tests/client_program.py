"""A client as Isaac Gym's users write them, in the style of legged_gym: a package with one task, ``cart``.

A cart on a rail is pushed by the action and should stay near the middle. It is a program of Isaac Gym's API alone.
"""

from __future__ import annotations

ASSET = """<mujoco model="cart"><compiler angle="radian"/><worldbody><body name="cart" pos="0 0 0.2">
<joint name="slide" type="slide" axis="1 0 0" damping="0.5"/><geom type="box" size="0.1 0.1 0.05" mass="1"/>
</body></worldbody></mujoco>"""

CART = '''
import os
import torch
from isaacgym import gymapi, gymtorch, gymutil
from isaacgym.torch_utils import torch_rand_float


class Cart:
    """Reset happens inside step; buffers are written in place and handed out as they are."""

    def __init__(self, cfg, sim_params, physics_engine, sim_device, headless):
        self.cfg, self.gym = cfg, gymapi.acquire_gym()
        kind, index = gymutil.parse_device_str(sim_device)
        self.device = sim_device if kind == "cuda" and sim_params.use_gpu_pipeline else "cpu"
        self.num_envs, self.num_obs, self.num_actions = cfg.env.num_envs, 3, 1
        self.num_privileged_obs = cfg.env.num_privileged_obs
        self.dt, self.max_episode_length = sim_params.dt * cfg.control.decimation, cfg.env.episode_steps
        self.sim = self.gym.create_sim(index, -1, physics_engine, sim_params)
        self._create_envs()
        self.gym.prepare_sim(self.sim)
        self.dof = gymtorch.wrap_tensor(self.gym.acquire_dof_state_tensor(self.sim)).view(self.num_envs, 2)
        kw = {"device": self.device}
        self.obs_buf, self.rew_buf = torch.zeros(self.num_envs, 3, **kw), torch.zeros(self.num_envs, **kw)
        self.privileged_obs_buf = torch.zeros(self.num_envs, 1, **kw) if self.num_privileged_obs else None
        self.reset_buf = torch.ones(self.num_envs, dtype=torch.long, **kw)
        self.time_out_buf = torch.zeros(self.num_envs, dtype=torch.bool, **kw)
        self.episode_length_buf = torch.zeros(self.num_envs, dtype=torch.long, **kw)
        self.actions = torch.zeros(self.num_envs, 1, **kw)
        self.extras = {}

    def _create_envs(self):
        options = gymapi.AssetOptions()
        options.fix_base_link = True
        options.default_dof_drive_mode = int(gymapi.DOF_MODE_EFFORT)
        asset = self.gym.load_asset(self.sim, os.path.dirname(__file__), "cart.xml", options)
        self.dof_names = self.gym.get_asset_dof_names(asset)
        self.default_dof_pos = torch.zeros(1, 1)
        for i in range(self.num_envs):
            env = self.gym.create_env(self.sim, gymapi.Vec3(), gymapi.Vec3(), 8)
            self.gym.create_actor(env, asset, gymapi.Transform(), "cart", i, 0)

    def reset(self):
        self.reset_idx(torch.arange(self.num_envs, device=self.device))
        obs, privileged, _, _, _ = self.step(torch.zeros(self.num_envs, 1, device=self.device))
        return obs, privileged

    def step(self, actions):
        clip = self.cfg.normalization.clip_actions
        self.actions[:] = torch.clip(actions, -clip, clip)
        force = (10.0 * self.actions).contiguous()
        for _ in range(self.cfg.control.decimation):
            self.gym.set_dof_actuation_force_tensor(self.sim, gymtorch.unwrap_tensor(force))
            self.gym.simulate(self.sim)
            self.gym.fetch_results(self.sim, True)
            self.gym.refresh_dof_state_tensor(self.sim)
        self.episode_length_buf += 1
        self.time_out_buf = self.episode_length_buf > self.max_episode_length
        self.reset_buf[:] = (self.dof[:, 0].abs() > 1.0) | self.time_out_buf
        self.rew_buf[:] = torch.exp(-4.0 * self.dof[:, 0] ** 2) * self.cfg.rewards.scale
        self.reset_idx(self.reset_buf.nonzero().flatten())
        self.compute_observations()
        return self.obs_buf, self.privileged_obs_buf, self.rew_buf, self.reset_buf, self.extras

    def compute_observations(self):
        self.obs_buf[:] = torch.cat((self.dof, self.actions), dim=1)
        if self.privileged_obs_buf is not None:
            self.privileged_obs_buf[:, 0] = self.episode_length_buf

    def reset_idx(self, env_ids):
        if len(env_ids) == 0:
            return
        self.dof[env_ids] = torch_rand_float(-0.5, 0.5, (len(env_ids), 2), self.device)
        ids = env_ids.to(torch.int32)
        self.gym.set_dof_state_tensor_indexed(self.sim, gymtorch.unwrap_tensor(self.dof),
                                              gymtorch.unwrap_tensor(ids), len(ids))
        self.episode_length_buf[env_ids] = 0
        self.extras["episode"] = {"rew_middle": self.rew_buf[env_ids].mean()}
        self.extras["time_outs"] = self.time_out_buf
'''

REGISTRY = '''
from isaacgym import gymapi, gymutil
from {package}.utils.helpers import get_args


class TaskRegistry:
    def __init__(self):
        self.task_classes, self.env_cfgs, self.train_cfgs = {{}}, {{}}, {{}}

    def register(self, name, task_class, env_cfg, train_cfg):
        self.task_classes[name], self.env_cfgs[name], self.train_cfgs[name] = task_class, env_cfg, train_cfg

    def get_cfgs(self, name):
        self.env_cfgs[name].seed = self.train_cfgs[name].seed
        return self.env_cfgs[name], self.train_cfgs[name]

    def make_env(self, name, args=None, env_cfg=None):
        args = args or get_args()
        env_cfg = env_cfg or self.get_cfgs(name)[0]
        if args.num_envs is not None:
            env_cfg.env.num_envs = args.num_envs
        params = gymapi.SimParams()
        params.use_gpu_pipeline = args.use_gpu_pipeline
        gymutil.parse_sim_config({{"dt": 0.01, "substeps": 1, "up_axis": 1, "gravity": [0, 0, -9.81]}}, params)
        env = self.task_classes[name](env_cfg, params, args.physics_engine, args.sim_device, args.headless)
        return env, env_cfg


task_registry = TaskRegistry()
'''

HELPERS = '''
from isaacgym import gymutil


def get_args():
    args = gymutil.parse_arguments(description="RL Policy", custom_parameters=[
        {"name": "--task", "type": str, "default": "cart"},
        {"name": "--headless", "action": "store_true", "default": False},
        {"name": "--rl_device", "type": str, "default": "cuda:0"},
        {"name": "--num_envs", "type": int}])
    args.sim_device = args.sim_device_type
    if args.sim_device == "cuda":
        args.sim_device += f":{args.compute_device_id}"
    return args
'''

ENVS = '''
from {package}.envs.cart import Cart
from {package}.utils.task_registry import task_registry


class CartCfg:
    class env:
        num_envs = 8
        num_privileged_obs = None
        episode_steps = 20

    class control:
        decimation = 2
        action_scale = 1.0

    class normalization:
        clip_actions = 100.0

    class rewards:
        scale = 1.0


class CartCfgPPO:
    seed = 1


task_registry.register("cart", Cart, CartCfg, CartCfgPPO)
'''


def files(package: str) -> "dict[str, str]":
    """The package's files, by their paths in it."""
    return {"__init__.py": "", "envs/__init__.py": ENVS.format(package=package), "envs/cart.py": CART,
            "envs/cart.xml": ASSET, "utils/__init__.py": "", "utils/helpers.py": HELPERS,
            "utils/task_registry.py": REGISTRY.format(package=package)}
