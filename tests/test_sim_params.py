"""Parameters, pushes and warnings of a simulator, told by the physics; what its solver leaves out; and a simulator on
an engine of one's own."""

from __future__ import annotations

import sys
from typing import Any, Iterator, List

import numpy as np
import pytest
import torch

from sb3_isaac.contract.errors import UserError
from sb3_isaac.contract.rotations import from_yaw, rotate, wxyz_from_xyzw, xyzw_from_wxyz
from sb3_isaac.robots import get_robot
from sb3_isaac.sim import Simulator, make_simulator
from sb3_isaac.sim.params import PARAMS

mujoco = pytest.importorskip("mujoco")
from sb3_isaac.engine.cpu import CpuEngine  # noqa: E402
from sb3_isaac.sim.mujoco import MujocoSimulator  # noqa: E402
from sb3_isaac.sim.scene import compose_scene  # noqa: E402

ROBOT = get_robot("quadruped")
DEFAULT = torch.tensor(ROBOT.default_joint_pos)
SECOND = torch.tensor([False, True, False])


@pytest.fixture(params=["mujoco", "isaacgym"])
def sim(request: pytest.FixtureRequest) -> Iterator[Simulator]:
    before = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "isaacgym"}
    made = make_simulator(request.param, ROBOT, 3, threads=1)
    yield made
    made.close()
    for name in [name for name in sys.modules if name.split(".")[0] == "isaacgym"]:
        if name not in before:
            del sys.modules[name]


def place(sim: Simulator, height_m: float = ROBOT.base_height_m, **given: torch.Tensor) -> None:
    still = torch.zeros(3, 3)
    start = {"root_pos_w": torch.tensor([0.0, 0.0, height_m]).repeat(3, 1), "root_quat_w": from_yaw(torch.zeros(3)),
             "root_lin_vel_w": still, "root_ang_vel_b": still, "joint_pos": DEFAULT.repeat(3, 1),
             "joint_vel": torch.zeros(3, 12), **given}
    sim.reset(torch.ones(3, dtype=torch.bool), **start)


def stand(sim: Simulator, steps: int = 50) -> None:
    for _ in range(steps):
        sim.step(DEFAULT.repeat(3, 1))


def test_a_heavier_trunk_sags_and_weighs_on_the_feet(sim: Simulator) -> None:
    extra_kg = 5.0
    sim.set_param("trunk_mass", torch.tensor([float("nan"), 6.921 + extra_kg, float("nan")]), SECOND)
    place(sim)
    stand(sim)
    height, weight = sim.state.root_pos_w[:, 2], sim.state.contact_force_w[..., 2].sum(dim=1)
    assert height[0] == height[2] and height[1] < height[0] - 0.005
    assert weight[:2].tolist() == pytest.approx([sim.weight_n, sim.weight_n + extra_kg * 9.81], rel=0.05)


def test_links_weigh_as_they_are_told(sim: Simulator) -> None:
    """All but the trunk by half more: the feet carry 1.5 times their weight, and the trunk's."""
    sim.set_param("link_mass", torch.tensor([1.0, 1.5, 1.0]))
    place(sim)
    stand(sim)
    expected = 9.81 * 6.921 + 1.5 * (sim.weight_n - 9.81 * 6.921)
    assert float(sim.state.contact_force_w[1, :, 2].sum()) == pytest.approx(expected, rel=0.05)
    assert float(sim.state.contact_force_w[0, :, 2].sum()) == pytest.approx(sim.weight_n, rel=0.05)


def test_a_robot_leans_on_the_side_where_its_mass_is(sim: Simulator) -> None:
    """The centre of the trunk's mass is 5 cm further to the left: the left feet carry more, all feet no more."""
    sim.set_param("com", torch.tensor([0.0, 0.05, 0.0]).repeat(3, 1), SECOND)
    place(sim)
    stand(sim)
    left = torch.tensor([sim.body_names.index(name) for name in ROBOT.feet if name[1] == "L"])
    load = sim.state.contact_force_w[:, :, 2]
    share = load[:, left].sum(dim=1) / load.sum(dim=1)
    assert share[0] == share[2] == pytest.approx(0.5, abs=0.02) and float(share[1]) > 0.58
    assert float(load[1].sum()) == pytest.approx(sim.weight_n, rel=0.05)


def test_a_robot_slides_by_its_friction(sim: Simulator) -> None:
    """Sliding stops within v² / (2 μ g): 0.5 m/s within 16 mm at 0.8; the slippery robot goes on for longer."""
    sim.set_param("friction", torch.tensor([0.8, 0.4, 0.8]))
    assert sim.friction.tolist() == pytest.approx([0.8, 0.4, 0.8])
    place(sim)
    stand(sim, 25)
    before = sim.state.foot_pos_w.mean(dim=1).clone()
    sim.push(torch.tensor([[2.0, 0.0, 0.0]]).repeat(3, 1), torch.zeros(3, 3), torch.ones(3, dtype=torch.bool))
    stand(sim, 15)
    slid = (sim.state.foot_pos_w.mean(dim=1) - before)[:, 0]
    assert slid[0] == pytest.approx(float(slid[2])) and float(slid[1]) > float(slid[0]) + 0.02


@pytest.mark.parametrize(("name", "value", "factor"), [("kp", 0.5 * ROBOT.kp[0], 0.5), ("motor_strength", 0.5, 0.5),
                                                      ("motor_strength", 2.0, 2.0)])
def test_drives_pull_as_they_are_told(sim: Simulator, name: str, value: float, factor: float) -> None:
    """At rest and with a small error the torque is kp times the error."""
    sim.set_param(name, torch.full((3,), value), SECOND)
    place(sim, 5.0)
    sim.step(torch.stack((DEFAULT.repeat(3, 1), DEFAULT.repeat(3, 1) + 0.05)))
    assert (sim.state.joint_torque[1] / sim.state.joint_torque[0]).tolist() == pytest.approx([factor] * 12, rel=0.02)


def test_motor_strength_scales_the_torque_limit(sim: Simulator) -> None:
    sim.set_param("motor_strength", torch.full((3, 12), 0.25), SECOND)
    place(sim, 5.0)
    sim.step(torch.where(DEFAULT > 0, -10.0, 10.0).repeat(3, 1))
    limit = torch.tensor(ROBOT.torque_limit_nm)
    assert (sim.state.joint_torque[1].abs() <= 0.25 * limit + 1e-4).all()
    assert float(sim.state.joint_torque[0].abs().max()) > 0.26 * float(limit.max())


def test_armature_and_damping_slow_the_joints(sim: Simulator) -> None:
    for name, value in (("armature", 0.1), ("kd", 5.0)):
        sim.set_param(name, torch.full((3,), value), SECOND)
        place(sim, 5.0)
        stand(sim, 1)
        sim.step(DEFAULT.repeat(3, 1) + 0.2)
        moved = (sim.state.joint_pos - DEFAULT).abs().sum(dim=1)
        assert moved[0] == moved[2] and float(moved[1]) < 0.7 * float(moved[0])
        sim.set_param(name, torch.full((3,), {"armature": 0.0045, "kd": ROBOT.kd[0]}[name]))


def test_a_pushed_robot_has_that_velocity(sim: Simulator) -> None:
    """Also when it lies on its side: the linear part is the world's, the angular one the body's."""
    on_its_side = torch.tensor([[0.5**0.5, 0.5**0.5, 0.0, 0.0]]).repeat(3, 1)
    place(sim, 5.0, root_quat_w=on_its_side, root_lin_vel_w=torch.tensor([[0.1, 0.0, 0.0]]).repeat(3, 1))
    lin, ang = torch.full((3, 3), float("nan")), torch.full((3, 3), float("nan"))
    lin[1], ang[1] = torch.tensor([0.5, -0.3, 0.2]), torch.tensor([0.0, 1.0, 0.0])
    sim.push(lin, ang, SECOND)
    torch.testing.assert_close(sim.state.root_lin_vel_w[1], torch.tensor([0.6, -0.3, 0.2]))
    torch.testing.assert_close(sim.state.root_ang_vel_b[1], ang[1], atol=1e-6, rtol=0.0)
    assert not sim.state.root_ang_vel_b[::2].any()
    nose = rotate(on_its_side, torch.tensor([[1.0, 0.0, 0.0]]))
    sim.step(DEFAULT.repeat(3, 1))
    assert sim.state.root_pos_w[1, :2].tolist() == pytest.approx([0.6 * 0.02, -0.3 * 0.02], abs=2e-3)
    turned = rotate(sim.state.root_quat_w, torch.tensor([[1.0, 0.0, 0.0]]))
    # About the body's y, which points upward: the nose goes to the left.
    assert float(torch.linalg.cross(nose, turned)[1, 2]) == pytest.approx(0.02, rel=0.25)


def test_unknown_parameters_and_shapes_are_one_sentence(sim: Simulator) -> None:
    with pytest.raises(UserError, match=r"unknown parameter 'frictions' in sim=.*did you mean 'friction'.*trunk_mass"):
        sim.set_param("frictions", torch.zeros(3))
    with pytest.raises(UserError, match=r"'kp' was given values of shape \(3, 3\): give .*\(3,\) or \(3, 12\)"):
        sim.set_param("kp", torch.zeros(3, 3))


def test_gravity_is_each_robots_own_in_mujoco_and_refused_by_isaac_gym(sim: Simulator) -> None:
    gravity = torch.tensor([[0.0, 0.0, -9.81], [0.0, 0.0, -1.62], [1.0, 0.0, 0.0]])
    if not isinstance(sim, MujocoSimulator):
        with pytest.raises(UserError, match=r"unknown parameter 'gravity'.*valid are armature, com, friction"):
            sim.set_param("gravity", gravity)
        return
    sim.set_param("gravity", gravity)
    place(sim, 5.0)
    sim.step(DEFAULT.repeat(3, 1))
    torch.testing.assert_close(sim.state.root_lin_vel_w, gravity * 0.02, atol=1e-4, rtol=0.0)


def test_parameters_are_saved(sim: Simulator) -> None:
    for name in PARAMS:
        if name != "gravity":
            values = torch.tensor([1.0, 0.6, 2.0])
            values = 0.01 * values[:, None].repeat(1, 3) if PARAMS[name] == "vector" else values
            sim.set_param(name, values)
            given = sim.get_param(name)
            assert given.tolist() == (values[:, None].repeat(1, 12) if given.shape == (3, 12) else values).tolist()
    place(sim, 5.0)
    stand(sim, 2)
    saved = sim.state_dict()
    stand(sim, 2)
    expected, torque = sim.state.joint_pos.clone(), sim.state.joint_torque.clone()
    for name in ("kp", "friction", "trunk_mass", "motor_strength"):
        sim.set_param(name, torch.full((3,), 5.0))
    sim.load_state_dict(saved)
    assert sim.friction.tolist() == pytest.approx([1.0, 0.6, 2.0])
    stand(sim, 2)
    torch.testing.assert_close(sim.state.joint_pos, expected)
    torch.testing.assert_close(sim.state.joint_torque, torque)
    sim.set_param("kd", torch.full((3,), 0.5))  # which the gains that were loaded go into
    place(sim, 5.0)
    sim.step(torch.stack((DEFAULT.repeat(3, 1), DEFAULT.repeat(3, 1) + 0.01)))
    # Both kp and motor_strength of the second robot are 0.6 of the first one's.
    ratio = (sim.state.joint_torque[1] / sim.state.joint_torque[0]).mean()
    assert float(ratio) == pytest.approx(0.36, rel=0.1)


def test_quaternion_orders_undo_each_other() -> None:
    quat = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    assert xyzw_from_wxyz(quat).tolist() == [[2.0, 3.0, 4.0, 1.0]]
    assert torch.equal(wxyz_from_xyzw(xyzw_from_wxyz(quat)), quat)


def test_states_do_not_depend_on_what_is_only_to_look_at() -> None:
    seen, looks = compose_scene(ROBOT, 0.01, visuals=True), compose_scene(ROBOT, 0.01)
    assert looks.ngeom < seen.ngeom / 3 and looks.body_mass.tolist() == seen.body_mass.tolist()
    datas = [mujoco.MjData(model) for model in (seen, looks)]
    generator = torch.Generator().manual_seed(0)
    for data in datas:
        data.qpos[2], data.qpos[7:] = ROBOT.base_height_m, DEFAULT
    for _ in range(100):
        target = DEFAULT + 0.3 * torch.randn(12, generator=generator)
        for model, data in zip((seen, looks), datas):
            data.ctrl[:] = target
            mujoco.mj_step(model, data, 2)
        assert datas[0].qpos.tolist() == datas[1].qpos.tolist() and datas[0].qvel.tolist() == datas[1].qvel.tolist()
    assert datas[0].ncon > 0
    names = [[model.joint(i).name for i in range(model.njnt)] for model in (seen, looks)]
    assert names[0] == names[1]


class MetaEngine:
    """An engine on PyTorch's meta device, which has shapes and no numbers: whatever is allocated elsewhere, or waits
    for a number, fails. It stands for a GPU."""

    def __init__(self, model: Any, num_worlds: int, threads: Any) -> None:
        self.model, self.num_worlds, self.threads = model, num_worlds, 1
        self.device, self.timestep_s, self.physics_s = torch.device("meta"), 0.01, 0.0
        self._data = mujoco.MjData(model)
        self.diverged = torch.zeros(num_worlds, dtype=torch.bool, device="meta")
        self.calls: List[str] = []

    def _taken(self, what: str, *tensors: torch.Tensor) -> None:
        assert all(tensor.device == self.device for tensor in tensors)
        self.calls.append(what)

    def field(self, name: str) -> torch.Tensor:
        return torch.zeros(self.num_worlds, *getattr(self._data, name).shape, device="meta")

    def model_field(self, name: str) -> torch.Tensor:
        shape = (3,) if name == "opt.gravity" else getattr(self.model, name).shape
        return torch.zeros(self.num_worlds, *shape, device="meta")

    def set_model_field(self, name: str, values: torch.Tensor, mask: torch.Tensor) -> None:
        assert values.shape == self.model_field(name).shape
        self._taken(name, values, mask)

    def step(self, ctrl: torch.Tensor, nstep: int) -> None:
        self._taken(f"step {nstep}", ctrl)

    def reset(self, mask: torch.Tensor, qpos: torch.Tensor, qvel: torch.Tensor, ctrl: torch.Tensor) -> None:
        self._taken("reset", mask, qpos, qvel, ctrl)

    def write(self, mask: torch.Tensor, qvel: torch.Tensor) -> None:
        self._taken("write", mask, qvel)


def test_the_simulator_allocates_on_the_engines_device_and_waits_for_no_number() -> None:
    sim = MujocoSimulator(ROBOT, 3, engine=MetaEngine)  # type: ignore[arg-type]
    assert all(value.device == sim.device for value in (*vars(sim.state).values(), sim.friction, sim.diverged))
    with torch.device("meta"):
        joints, vector, mask = torch.zeros(3, 12), torch.zeros(3, 3), torch.zeros(3, dtype=torch.bool)
        sim.step(joints)
        sim.step(torch.zeros(2, 3, 12))
        sim.reset(mask, vector, torch.zeros(3, 4), vector, vector, joints, joints)
        sim.push(vector, vector, mask)
        for name in PARAMS:
            sim.set_param(name, vector if PARAMS[name] == "vector" else torch.zeros(3), mask)
    assert sim.engine.calls[:4] == ["step 2", "step 2", "reset", "write"]  # type: ignore[attr-defined]
    assert {"body_mass", "geom_friction", "actuator_gainprm", "opt.gravity"} <= set(sim.engine.calls)  # type: ignore[attr-defined]


def test_the_simulator_takes_any_engine() -> None:
    """An engine that hands out double-time physics: all that the simulator does goes through the protocol."""
    class Twice:
        def __init__(self, model: Any, num_worlds: int, threads: Any) -> None:
            self._own = CpuEngine(model, num_worlds, threads)

        def __getattr__(self, name: str) -> Any:
            allowed = {"model", "num_worlds", "device", "threads", "timestep_s", "diverged", "physics_s", "field",
                       "live", "update", "reset", "write", "model_field", "set_model_field", "warnings", "mj_data",
                       "state_dict", "load_state_dict", "close", "recorder"}
            assert name in allowed, f"{name} is not of the protocol"
            return getattr(self._own, name)

        def step(self, ctrl: torch.Tensor, nstep: int) -> None:
            self._own.step(ctrl, 2 * nstep)

    twice, reference = MujocoSimulator(ROBOT, 3, threads=1, engine=Twice), MujocoSimulator(ROBOT, 3, threads=1)
    for sim in (twice, reference):
        place(sim, 5.0)
    stand(twice, 2), stand(reference, 4)
    assert torch.equal(twice.state.root_pos_w, reference.state.root_pos_w)
    for sim in (twice, reference):
        sim.set_param("kp", torch.full((3,), 10.0))
        sim.push(torch.ones(3, 3), torch.ones(3, 3), SECOND)
    stand(twice, 2), stand(reference, 4)
    assert torch.equal(twice.state.joint_pos, reference.state.joint_pos)
    twice.load_state_dict(twice.state_dict())
    assert twice.warnings() == reference.warnings()
    twice.close(), reference.close()


@pytest.mark.parametrize("name", ["anymal", "quadruped", "g1"])
def test_a_robot_alone_is_solved_to_the_same_acceleration(name: str) -> None:
    """Without islands and warm starts, in 40 states of a robot that falls onto its feet and kicks: within 1e-9 of what
    MuJoCo's usual options give."""
    robot = get_robot(name)
    model, usual = compose_scene(robot, 0.01), compose_scene(robot, 0.01)
    assert usual.opt.disableflags == mujoco.mjtDisableBit.mjDSBL_ISLAND | mujoco.mjtDisableBit.mjDSBL_WARMSTART
    usual.opt.disableflags = 0
    data, other, rng, contacts = mujoco.MjData(model), mujoco.MjData(usual), np.random.default_rng(0), 0
    data.qpos[2] = 0.9 * robot.base_height_m
    for _ in range(40):
        data.ctrl[:] = rng.uniform(-1.0, 1.0, model.nu)
        other.qpos[:], other.qvel[:], other.ctrl[:] = data.qpos, data.qvel, data.ctrl
        mujoco.mj_step(model, data)
        mujoco.mj_step(usual, other)
        np.testing.assert_allclose(other.qacc, data.qacc, atol=1e-9 * (1.0 + np.abs(data.qacc).max()))
        contacts += data.ncon
    assert contacts >= 20
