"""The engine's own arrays, and derived fields, which steps leave at the start of the last physics step."""

from __future__ import annotations

import mujoco
import pytest
import torch

from sb3_isaac.contract.errors import UserError
from sb3_isaac.engine.cpu import CpuEngine

XML = """<mujoco><option integrator="implicitfast" jacobian="dense"/><worldbody>
  <geom type="plane" size="1 1 1"/>
  <body name="ball" pos="0 0 1"><freejoint/><geom type="sphere" size="0.1" mass="1"/></body></worldbody>
  <sensor><contact body2="ball" data="force" reduce="netforce"/></sensor></mujoco>"""


def make(num_worlds: int = 4) -> CpuEngine:
    return CpuEngine(mujoco.MjModel.from_xml_string(XML), num_worlds, threads=1)


def step(engine: CpuEngine, count: int) -> None:
    for _ in range(count):
        engine.step(torch.zeros(engine.num_worlds, 0), 1)


def test_live_state_is_read_and_written_in_place() -> None:
    engine = make()
    qpos = engine.live("qpos")
    assert qpos.dtype == torch.float64 and qpos is engine.live("qpos")
    qpos[2, 2] = 5.0
    step(engine, 10)
    fallen = 9.81 * 0.002**2 * 55
    assert qpos[:, 2].tolist() == pytest.approx([1 - fallen, 1 - fallen, 5 - fallen, 1 - fallen])
    with pytest.raises(UserError, match="MuJoCo data field 'qposs'"):
        engine.live("qposs")


def test_forces_written_live_act_until_they_are_taken_back() -> None:
    engine = make()
    engine.live("xfrc_applied")[1, 1, 0] = 2.0
    step(engine, 10)
    assert engine.live("qvel")[:, 0].tolist() == pytest.approx([0, 0.04, 0, 0])


def test_derived_fields_are_of_the_last_steps_start_until_update() -> None:
    engine, reference = make(), mujoco.MjData(mujoco.MjModel.from_xml_string(XML))
    xpos = engine.live("xpos")
    step(engine, 5)
    mujoco.mj_step(engine.model, reference, 5)
    state = engine.live("qpos").clone()
    assert state[0].tolist() == reference.qpos.tolist()
    assert xpos[0].tolist() == reference.xpos.tolist() != state[0, :3].tolist()
    engine.update()
    assert torch.equal(xpos[:, 1], state[:, :3]) and torch.equal(engine.live("qpos"), state)


def test_forces_are_those_of_the_last_physics_step() -> None:
    engine = make()
    engine.live("qpos")[:, 2] = torch.tensor([0.099, 2.0, 0.095, 3.0])
    forces, heights = engine.live("sensordata"), engine.live("qpos")[:, 2].tolist()
    step(engine, 3)
    for height, force in zip(heights, forces[:, 2].tolist()):
        data = mujoco.MjData(engine.model)
        data.qpos[2] = height
        mujoco.mj_step(engine.model, data, 3)
        assert force == data.sensordata[2] and (force > 0) == (height < 0.1)


def crowd(memory: int) -> CpuEngine:
    """Two worlds of twelve balls, which in the second lie on the floor, with so many bytes for contacts."""
    balls = "".join(f'<body pos="{i} 0 1"><freejoint/><geom type="sphere" size="0.1" condim="6"/></body>'
                    for i in range(12))
    engine = CpuEngine(mujoco.MjModel.from_xml_string(
        f'<mujoco><option jacobian="dense"/><size memory="{memory}"/><worldbody><geom type="plane" size="0 0 1"/>'
        f"{balls}</worldbody></mujoco>"), 2, threads=1)
    engine.live("qpos").view(2, 12, 7)[1, :, 2] = 0.095
    return engine


def test_a_full_constraint_buffer_is_counted_and_ends_nothing() -> None:
    engine, roomy = crowd(20_000), crowd(1_000_000)
    for e in (engine, roomy):
        e.step(torch.zeros(2, 0), 3)
        assert not e.diverged.any()
    assert engine.warnings()["constraint_buffer_full"] >= 3
    assert not any(engine.warnings().values()), "counted since the last call"
    assert not any(roomy.warnings().values())
    assert torch.equal(engine.live("qpos")[0], roomy.live("qpos")[0])


def test_a_singular_mass_matrix_is_counted_and_ends_nothing() -> None:
    engine = make(3)
    armature = engine.model_field("dof_armature")
    armature[1, 0] = -1.0  # the ball's mass of 1 kg, forwards, where nothing pulls
    engine.set_model_field("dof_armature", armature)
    step(engine, 4)
    assert not engine.diverged.any()
    assert engine.warnings() == {"contact_buffer_full": 0, "constraint_buffer_full": 0, "bad_inertia": 8}  # two a step
