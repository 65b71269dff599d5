"""Gym's calls about joints, actuators, tendons and force sensors of assets and actors."""

from __future__ import annotations

from typing import Dict, List, Optional, Sequence

from sb3_isaac.contract.errors import UserError
from sb3_isaac.gymcompat.api.gym_assets import checked, place_of
from sb3_isaac.gymcompat.model.actors import Env
from sb3_isaac.gymcompat.model.asset import Asset, ForceSensor
from sb3_isaac.gymcompat.model.scene import wxyz
from sb3_isaac.gymcompat.runtime.sim import Sim
from sb3_isaac.gymcompat.types.enums import AXIS_ALL, AXIS_NONE, AXIS_TRANSLATION, JointType
from sb3_isaac.gymcompat.types.structs import (
    ActuatorProperties,
    AttractorProperties,
    ForceSensorProperties,
    TendonProperties,
)
from sb3_isaac.gymcompat.types.values import Transform


class PartCalls:
    """Joints, fixed ones included, are in the order of the bodies that they carry: joint i carries body i + 1."""

    # ---- joints

    def get_asset_joint_count(self, asset: Asset) -> int:
        """All, fixed ones included."""
        return len(checked("get_asset_joint_count", "asset", asset, Asset).joint_names)

    def get_asset_joint_names(self, asset: Asset) -> List[str]:
        """All, in order."""
        return list(asset.joint_names)

    def get_asset_joint_name(self, asset: Asset, index: int) -> str:
        """One."""
        return asset.joint_names[index]

    def get_asset_joint_dict(self, asset: Asset) -> Dict[str, int]:
        """Indices by name."""
        return {name: i for i, name in enumerate(asset.joint_names)}

    def find_asset_joint_index(self, asset: Asset, name: str) -> int:
        """The index of a joint."""
        return place_of(name, asset.joint_names)

    def get_asset_joint_type(self, asset: Asset, index: int) -> JointType:
        """Fixed, revolute or prismatic."""
        name = asset.joint_names[index]
        if name not in asset.dof_names:
            return JointType.JOINT_FIXED
        slides = asset.dof_is_slide[asset.dof_names.index(name)]
        return JointType.JOINT_PRISMATIC if slides else JointType.JOINT_REVOLUTE

    def get_actor_joint_count(self, env: Env, handle: int) -> int:
        """All of one actor."""
        return len(env.actor("get_actor_joint_count", handle).asset.joint_names)

    def get_env_joint_count(self, env: Env) -> int:
        """All of one environment."""
        return sum(len(actor.asset.joint_names) for actor in env.actors)

    def get_sim_joint_count(self, sim: Sim) -> int:
        """All."""
        return sum(self.get_env_joint_count(env) for env in sim.envs)

    def get_actor_joint_names(self, env: Env, handle: int) -> List[str]:
        """All of one actor."""
        return list(env.actor("get_actor_joint_names", handle).asset.joint_names)

    def get_actor_joint_dict(self, env: Env, handle: int) -> Dict[str, int]:
        """Indices in the actor by name."""
        return self.get_asset_joint_dict(env.actor("get_actor_joint_dict", handle).asset)

    def find_actor_joint_handle(self, env: Env, handle: int, name: str) -> int:
        """The index of a joint in the actor."""
        return place_of(name, env.actor("find_actor_joint_handle", handle).asset.joint_names)

    # ---- actuators of an MJCF file

    def get_asset_actuator_joint_name(self, asset: Asset, index: int) -> str:
        """The joint that an actuator moves."""
        return asset.actuator_joints[index]

    def get_actor_actuator_count(self, env: Env, handle: int) -> int:
        """Of one actor."""
        return len(env.actor("get_actor_actuator_count", handle).asset.actuators)

    def get_actor_actuator_properties(self, env: Env, handle: int) -> List[ActuatorProperties]:
        """Of one actor."""
        return [a.copy() for a in env.actor("get_actor_actuator_properties", handle).asset.actuators]

    # ---- tendons of an MJCF file

    def get_asset_tendon_count(self, asset: Asset) -> int:
        """T."""
        return len(asset.tendons)

    def get_asset_tendon_name(self, asset: Asset, index: int) -> str:
        """One."""
        return asset.tendon_names[index]

    def find_asset_tendon_index(self, asset: Asset, name: str) -> int:
        """The index of a tendon."""
        return place_of(name, asset.tendon_names)

    def get_asset_tendon_properties(self, asset: Asset) -> List[TendonProperties]:
        """Copies, T of them."""
        return [tendon.copy() for tendon in asset.tendons]

    def set_asset_tendon_properties(self, asset: Asset, props: Sequence[TendonProperties]) -> bool:
        """For the actors created from now on."""
        asset.tendons = _tendons("set_asset_tendon_properties", asset, props)
        return True

    def get_actor_tendon_count(self, env: Env, handle: int) -> int:
        """T of one actor."""
        return len(env.actor("get_actor_tendon_count", handle).tendons)

    def get_actor_tendon_name(self, env: Env, handle: int, index: int) -> str:
        """One."""
        return env.actor("get_actor_tendon_name", handle).asset.tendon_names[index]

    def get_actor_tendon_properties(self, env: Env, handle: int) -> List[TendonProperties]:
        """Copies, T of them."""
        return [tendon.copy() for tendon in env.actor("get_actor_tendon_properties", handle).tendons]

    def set_actor_tendon_properties(self, env: Env, handle: int, props: Sequence[TendonProperties]) -> bool:
        """Stiffness, damping and limits."""
        actor = env.actor("set_actor_tendon_properties", handle)
        actor.tendons = _tendons("set_actor_tendon_properties", actor.asset, props)
        env.sim.changed(env)
        return True

    # ---- force sensors

    def create_asset_force_sensor(self, asset: Asset, body_idx: int, local_pose: Transform,
                                  props: Optional[ForceSensorProperties] = None) -> int:
        """A sensor on a body of the actors that are made of the asset from now on; its index in the asset."""
        call, props = "create_asset_force_sensor", props if props is not None else ForceSensorProperties()
        asset = checked(call, "asset", asset, Asset)
        if not 0 <= body_idx < asset.num_bodies:
            raise UserError(f"{call}: asset {asset.name!r} has no body {body_idx}: it has {asset.num_bodies} bodies, "
                            "indices from 0.")
        asset.sensors = [*asset.sensors, ForceSensor(
            int(body_idx), tuple(local_pose.p), tuple(wxyz(local_pose.r)), props.enable_constraint_solver_forces,
            props.enable_forward_dynamics_forces, props.use_world_frame)]
        return len(asset.sensors) - 1

    def get_actor_force_sensor_count(self, env: Env, handle: int) -> int:
        """Of one actor."""
        return len(env.actor("get_actor_force_sensor_count", handle).asset.sensors)

    def get_sim_force_sensor_count(self, sim: Sim) -> int:
        """F."""
        return sim.layout.total("sensors")

    def enable_actor_dof_force_sensors(self, env: Env, handle: int) -> bool:
        """All joints report their forces: see ``acquire_dof_force_tensor``."""
        env.actor("enable_actor_dof_force_sensors", handle)
        return True

    # ---- attractors

    def create_rigid_body_attractor(self, env: Env, props: AttractorProperties) -> int:
        """A spring from a point or a frame of a body to a target; its handle."""
        call = "create_rigid_body_attractor"
        env.sim.must_not_be_prepared(call)
        env.body(call, props.rigid_handle)
        env.attractors.append(_attractor(call, props))
        return len(env.attractors) - 1

    def get_attractor_properties(self, env: Env, index: int) -> AttractorProperties:
        """A copy."""
        return env.attractors[index].copy()

    def set_attractor_properties(self, env: Env, index: int, props: AttractorProperties) -> bool:
        """Stiffness, damping and target; body, axes and offset only before ``prepare_sim``."""
        old, new = env.attractors[index], _attractor("set_attractor_properties", props)
        fixed = ("rigid_handle", "axes", "offset")
        if env.sim.is_prepared and any(getattr(old, name) != getattr(new, name) for name in fixed):
            raise NotImplementedError("set_attractor_properties: the body, the axes and the offset of an attractor "
                                      "cannot change after prepare_sim here: set them before.")
        env.attractors[index] = new
        env.sim.changed(env)
        return True

    def set_attractor_target(self, env: Env, index: int, target: Transform) -> bool:
        """Where the body is pulled to, in the environment's frame."""
        env.attractors[index].target = target
        if env.sim.is_prepared:
            group, row = env.sim.running("set_attractor_target").at(env)
            group.attract([row])
        return True


def _attractor(call: str, props: AttractorProperties) -> AttractorProperties:
    props = checked(call, "props", props, AttractorProperties).copy()
    if props.axes == AXIS_NONE:
        props.stiffness = props.damping = 0.0
    elif props.axes not in (AXIS_TRANSLATION, AXIS_ALL):
        raise NotImplementedError(f"{call}: props.axes is {props.axes}: an attractor here pulls along all three axes, "
                                  "AXIS_TRANSLATION, or a whole pose, AXIS_ALL.")
    return props


def _tendons(call: str, asset: Asset, props: Sequence[TendonProperties]) -> List[TendonProperties]:
    if len(props) != len(asset.tendons):
        raise UserError(f"{call}: {len(props)} properties were given and asset {asset.name!r} has "
                        f"{len(asset.tendons)} tendons: give one for each.")
    return [tendon.copy() for tendon in props]
