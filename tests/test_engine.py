"""The CPU engine against single MuJoCo worlds and arithmetic: steps, resets, divergence, model fields, saved state."""

from __future__ import annotations

import io
import os
from typing import Callable, List

import numpy as np
import pytest
import torch

from sb3_isaac.contract.errors import UserError

mujoco = pytest.importorskip("mujoco")
from sb3_isaac.engine.cpu import CpuEngine  # noqa: E402

DT, NSTEP = 0.01, 3
CART_KG, FORCE_N = 2.0, 5.0
BOX_HALF_M = 0.1
XML = f"""
<mujoco>
  <option timestep="{DT}" integrator="implicitfast" jacobian="dense"/>{{size}}
  <worldbody>
    <geom type="plane" size="0 0 1"/>
    <body name="box" pos="0 0 1"><freejoint/>
      <geom type="box" size="{BOX_HALF_M} {BOX_HALF_M} {BOX_HALF_M}" mass="1"/>
      <body name="arm" pos="0.1 0 0.1"><joint name="elbow" axis="0 1 0" damping="0.1"/>
        <geom type="capsule" fromto="0 0 0.05 0 0 0.3" size="0.02" mass="0.2"/>
      </body>
    </body>
    <body name="cart" pos="3 0 1"><joint name="rail" type="slide" axis="1 0 0"/>
      <geom type="sphere" size="0.05" mass="{CART_KG}"/></body>
  </worldbody>
  <actuator><motor joint="elbow"/><motor joint="rail"/></actuator>
  <sensor><contact body2="box" data="force" reduce="netforce" num="1"/></sensor>
</mujoco>
"""
FIELDS = ("qpos", "qvel", "xpos", "xquat", "cvel", "sensordata", "actuator_force")
RAIL, UP = 7, 2  # columns: the rail among velocities, the height of the box among positions and velocities
LOST = [False, True, False]
CRAMPED = '<size memory="9K"/>'  # too little for a box on the floor


def make_engine(num_worlds: int = 3, threads: int = 1, size: str = "") -> CpuEngine:
    engine = CpuEngine(mujoco.MjModel.from_xml_string(XML.format(size=size)), num_worlds, threads)
    for name in FIELDS:
        engine.field(name)
    return engine


def states(num_worlds: int, height_m: float = 1.0):
    qpos = torch.tensor([0, 0, height_m, 1, 0, 0, 0, 0, 0], dtype=torch.float32).repeat(num_worlds, 1)
    return qpos, torch.zeros(num_worlds, 8)


def random_controls(steps: int, num_worlds: int) -> torch.Tensor:
    return torch.randn(steps, num_worlds, 2, generator=torch.Generator().manual_seed(0))


def rollout(engine: CpuEngine, controls: torch.Tensor) -> List[torch.Tensor]:
    """Every field of FIELDS after every step."""
    seen = []
    for control in controls:
        engine.step(control, NSTEP)
        seen += [engine.field(name).clone() for name in FIELDS]
    return seen


def same(left: List[torch.Tensor], right: List[torch.Tensor]) -> bool:
    return len(left) == len(right) > 0 and all(torch.equal(a, b) for a, b in zip(left, right))


def test_worlds_equal_single_mujoco_worlds_exactly() -> None:
    engine = make_engine(4)
    qpos, qvel = states(4)
    qpos[:, UP] = torch.tensor([0.11, 0.15, 0.3, 1.0])  # some of them land
    qvel[:, 3:6] = torch.arange(12.0).reshape(4, 3) / 4
    engine.reset(torch.ones(4, dtype=torch.bool), qpos, qvel)
    singles, touched = [mujoco.MjData(engine.model) for _ in range(4)], False
    for data, position, velocity in zip(singles, qpos, qvel):
        data.qpos[:], data.qvel[:] = position, velocity
        mujoco.mj_forward(engine.model, data)
    for controls in random_controls(25, 4):
        engine.step(controls, NSTEP)
        for data, control in zip(singles, controls):
            data.ctrl[:] = control
            mujoco.mj_step(engine.model, data, NSTEP)
            # Its derived fields, too, are those of the last physics step's start.
        for name in FIELDS:
            expected = np.stack([getattr(data, name) for data in singles]).astype(np.float32)
            np.testing.assert_array_equal(engine.field(name).numpy(), expected, err_msg=name)
        touched |= bool(engine.field("sensordata").any())
    assert touched and not engine.diverged.any()


def test_results_do_not_depend_on_the_number_of_threads() -> None:
    controls = random_controls(20, 5)
    one, two = make_engine(5, threads=1), make_engine(5, threads=2)
    assert (one.threads, two.threads) == (1, 2)
    assert same(rollout(one, controls), rollout(two, controls))


def test_threads_are_at_least_one_and_at_most_one_a_world() -> None:
    with pytest.raises(UserError, match=r"threads is 0: .* at least 1"):
        make_engine(threads=0)
    assert make_engine(2, threads=8).threads == 2


def test_fields_are_float32_and_keep_their_address() -> None:
    engine = make_engine()
    before = {name: engine.field(name).data_ptr() for name in FIELDS}
    rollout(engine, random_controls(3, 3))
    engine.reset(torch.tensor(LOST), *states(3))
    engine.set_model_field("opt.gravity", torch.zeros(3, 3))
    engine.load_state_dict(engine.state_dict())
    assert {name: engine.field(name).data_ptr() for name in FIELDS} == before
    assert all(engine.field(name).dtype == torch.float32 for name in FIELDS)


def test_a_field_is_current_when_first_asked_for() -> None:
    engine = make_engine()
    engine.step(random_controls(1, 3)[0], 20)
    late = engine.field("xipos")[:, engine.model.body("cart").id]
    torch.testing.assert_close(late[:, 0], 3 + engine.field("qpos")[:, -1])
    assert (late[:, 0] != 3).all()


def test_asking_for_a_field_does_not_disturb_the_worlds() -> None:
    controls = random_controls(20, 3)
    plain, asked = make_engine(), make_engine()
    rollout(plain, controls[:10]), rollout(asked, controls[:10])
    asked.field("cinert")
    assert same(rollout(plain, controls[10:]), rollout(asked, controls[10:]))


def test_reset_touches_only_masked_worlds() -> None:
    controls = random_controls(20, 3)
    plain, reset = make_engine(), make_engine()
    rollout(plain, controls[:10]), rollout(reset, controls[:10])
    mask = torch.tensor(LOST)
    qpos, qvel = (torch.where(mask[:, None], good, float("nan")) for good in states(3, 0.5))  # other rows are not read
    reset.reset(mask, qpos, qvel)
    assert all(torch.equal(reset.field(name)[~mask], plain.field(name)[~mask]) for name in FIELDS)
    assert torch.equal(reset.field("qpos")[1], qpos[1])
    left, right = rollout(plain, controls[10:]), rollout(reset, controls[10:])
    assert same([x[~mask] for x in left], [x[~mask] for x in right])
    assert not same(left, right)


def test_reset_leaves_no_trace_of_the_past() -> None:
    controls, everyone = random_controls(20, 3), torch.ones(3, dtype=torch.bool)
    new, used = make_engine(), make_engine()
    rollout(used, controls.flip(0))
    for engine in (new, used):
        engine.reset(everyone, *states(3, 0.15))
    assert same(rollout(new, controls), rollout(used, controls))


def test_fields_of_a_reset_world_are_current() -> None:
    engine = make_engine()
    xpos, force = engine.field("xpos"), engine.field("sensordata")
    rollout(engine, random_controls(3, 3))
    mask = torch.tensor(LOST)
    engine.reset(mask, *states(3, BOX_HALF_M - 0.001))
    assert xpos[1, 1].tolist() == pytest.approx([0, 0, BOX_HALF_M - 0.001])
    assert force[1, 2] > 1.0 and not force[~mask].any()
    engine.reset(mask, *states(3, 2.0))
    assert xpos[1, 1, 2] == 2.0 and not force.any()


def lose_by_controls(engine: CpuEngine) -> None:
    engine.step(torch.tensor([[0, 0], [np.nan, 0], [0, 0]]).float(), NSTEP)


def lose_by_reset(engine: CpuEngine, position: float = np.nan, velocity: float = 0.0) -> None:
    qpos, qvel = states(3)
    engine.reset(torch.tensor(LOST), qpos * position, qvel + velocity)
    engine.step(torch.zeros(3, 2), NSTEP)


def lose_by_speed(engine: CpuEngine) -> None:
    lose_by_reset(engine, 1.0, 1e12)  # MuJoCo gives up above 1e10


def lose_by_state(engine: CpuEngine, between: Callable[[], object] = lambda: None) -> None:
    engine._batch.bind("qpos")[1, UP] = np.nan
    between()  # must not hide the loss
    engine.step(torch.zeros(3, 2), NSTEP)


def lose_before_a_new_field(engine: CpuEngine) -> None:
    engine._fields.pop("cvel")
    lose_by_state(engine, lambda: engine.field("cvel"))


def lose_before_a_load(engine: CpuEngine) -> None:
    lose_by_state(engine, lambda: engine.load_state_dict(engine.state_dict()))


LOSSES = (lose_by_controls, lose_by_reset, lose_by_speed, lose_by_state, lose_before_a_new_field, lose_before_a_load)



@pytest.mark.parametrize("lose", LOSSES)
def test_a_lost_world_is_marked_alone_and_each_time(lose) -> None:
    engine, healthy = make_engine(), make_engine()
    marks = engine.diverged
    for _ in range(3):  # MuJoCo's own reset sets its counter to 1 each time, so a rise alone would be seen once
        lose(engine)
        assert engine.diverged.tolist() == LOST
        engine.step(torch.zeros(3, 2), NSTEP)
        assert not engine.diverged.any()
        healthy.step(torch.zeros(3, 2), NSTEP), healthy.step(torch.zeros(3, 2), NSTEP)
    lose(engine), lose(engine)
    assert engine.diverged.tolist() == LOST
    engine.reset(torch.tensor(LOST), *states(3))
    assert not engine.diverged.any() and marks is engine.diverged
    healthy.step(torch.zeros(3, 2), NSTEP), healthy.step(torch.zeros(3, 2), NSTEP)
    assert torch.equal(engine.field("qpos")[::2], healthy.field("qpos")[::2])
    assert engine.field("qpos").isfinite().all()


def test_a_world_in_which_mujoco_raises_is_marked_alone() -> None:
    engine = make_engine(size=CRAMPED)
    engine._batch.bind("qpos")[1, UP] = BOX_HALF_M - 0.01
    engine.step(torch.zeros(3, 2), NSTEP)
    assert engine._batch.status.tolist() == [0, 1, 0]
    assert engine.diverged.tolist() == LOST


def test_warnings_of_lost_worlds_are_silent(tmp_path, monkeypatch, capfd) -> None:
    monkeypatch.chdir(tmp_path)
    log = tmp_path / "MUJOCO_LOG.TXT"
    engine = make_engine(threads=2)
    for lose in LOSSES:
        lose(engine)
        assert engine.diverged.any()
    assert capfd.readouterr() == ("", "") and os.listdir(tmp_path) == []
    data = mujoco.MjData(engine.model)  # the same without an engine is loud, so the silence is the engine's
    data.qpos[0] = np.nan
    mujoco.mj_step(engine.model, data)
    assert "Nan" in capfd.readouterr().err and log.exists()


def test_log_settings_are_the_callers_again() -> None:
    def settings() -> List[object]:
        config = mujoco.MjLogConfig.get()
        return [config.logto_console, config.logto_file, config.logfile, config.topics]

    before, mine = mujoco.MjLogConfig.get(), mujoco.MjLogConfig.get()
    mine.logto_console, mine.logto_file = False, True
    mujoco.MjLogConfig.set(mine)
    try:
        engine, expected = make_engine(), [False, True, mine.logfile, mine.topics]
        lose_by_controls(engine)
        assert settings() == expected
        with pytest.raises(ValueError):
            engine.reset(torch.tensor(LOST), torch.zeros(3, 2), torch.zeros(3, 2))
        assert settings() == expected
    finally:
        mujoco.MjLogConfig.set(before)


def test_gravity_is_each_worlds_own() -> None:
    engine = make_engine()
    gravity = torch.tensor([[0, 0, -9.81], [0, 0, -1.62], [0.5, 0, 0]])
    engine.set_model_field("opt.gravity", gravity)
    engine.step(torch.zeros(3, 2), 20)
    # The box falls with its arm: no force between them, so the speed is g t to rounding.
    torch.testing.assert_close(engine.field("qvel")[:, :3], gravity * 20 * DT, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(engine.model_field("opt.gravity"), gravity)


def test_mass_is_each_worlds_own() -> None:
    engine = make_engine()
    mass = engine.model_field("body_mass")
    cart = engine.model.body("cart").id
    mass[:, cart] *= torch.tensor([1.0, 2.0, 0.5])
    engine.set_model_field("body_mass", mass)
    engine.step(torch.tensor([0.0, FORCE_N]).repeat(3, 1), 20)
    # v = F t / m on the frictionless rail, and a constant that is derived from the mass has followed.
    torch.testing.assert_close(engine.field("qvel")[:, RAIL], FORCE_N * 20 * DT / mass[:, cart], rtol=1e-5, atol=0)
    torch.testing.assert_close(engine.model_field("body_mass"), mass)
    torch.testing.assert_close(engine.model_field("body_subtreemass")[:, 0], mass.sum(1))


def test_a_model_field_set_with_a_mask_leaves_other_worlds_alone() -> None:
    controls, mask = random_controls(20, 3), torch.tensor(LOST)
    plain, changed = make_engine(), make_engine()
    heavy = changed.model_field("body_mass") * 2
    changed.set_model_field("body_mass", heavy, mask)
    torch.testing.assert_close(changed.model_field("body_mass"), torch.where(mask[:, None], heavy, heavy / 2))
    left, right = rollout(plain, controls), rollout(changed, controls)
    assert same([x[~mask] for x in left], [x[~mask] for x in right])
    assert not same(left, right)


def test_model_field_is_a_copy() -> None:
    engine = make_engine()
    for _ in range(2):  # shared by all worlds at first, each world's own later
        engine.model_field("body_mass").zero_()
        assert (engine.model_field("body_mass")[:, 1:] > 0).all()
        engine.set_model_field("body_mass", engine.model_field("body_mass"))


def test_unknown_fields_and_wrong_shapes_are_refused() -> None:
    engine = make_engine()
    with pytest.raises(UserError, match=r"unknown MuJoCo data field 'qpoz': did you mean .*'qpos'"):
        engine.field("qpoz")
    with pytest.raises(UserError, match="unknown MuJoCo model field 'body_mas': did you mean 'body_mass'"):
        engine.model_field("body_mas")
    with pytest.raises(UserError, match=r"unknown MuJoCo model field 'gravity': did you mean 'opt.gravity'"):
        engine.set_model_field("gravity", torch.zeros(3, 3))
    with pytest.raises(UserError, match=r"'body_mass' was given shape \(4,\): it takes \(3, 4\)\.$"):
        engine.set_model_field("body_mass", torch.ones(4))


def randomised_engine() -> CpuEngine:
    engine = make_engine()
    mass = engine.model_field("body_mass")
    engine.set_model_field("body_mass", mass * torch.tensor([[0.8], [1.0], [1.3]]))
    engine.set_model_field("opt.gravity", torch.tensor([[0, 0, -9.0], [0, 0.1, -9.81], [0, 0, -11.0]]))
    engine.set_model_field("geom_friction", engine.model_field("geom_friction") * 0.3, torch.tensor(LOST))
    return engine


def test_a_saved_state_continues_bit_for_bit() -> None:
    engine, controls = randomised_engine(), random_controls(40, 3)
    engine.reset(torch.ones(3, dtype=torch.bool), *states(3, 0.2))  # lands before it is saved
    rollout(engine, controls[:20])
    file = io.BytesIO()
    torch.save(engine.state_dict(), file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    expected = rollout(engine, controls[20:])
    assert any(force.any() for force in expected[FIELDS.index("sensordata")::len(FIELDS)])
    for other in (engine, make_engine(), make_engine(threads=2)):
        other.load_state_dict(saved)
        assert same(expected, rollout(other, controls[20:]))
        assert torch.equal(other.model_field("body_mass"), engine.model_field("body_mass"))


def test_saved_marks_are_copies_and_come_back() -> None:
    engine, other = make_engine(), make_engine()
    lose_by_controls(engine)
    saved = engine.state_dict()
    engine.step(torch.zeros(3, 2), NSTEP)
    assert saved["diverged"].tolist() == LOST
    other.load_state_dict(saved)
    assert other.diverged.tolist() == LOST
    other.step(torch.zeros(3, 2), NSTEP)
    assert not other.diverged.any() and torch.equal(engine.field("qpos"), other.field("qpos"))


def test_a_saved_state_of_another_size_is_refused() -> None:
    with pytest.raises(UserError, match="same simulator, robot and number of environments"):
        make_engine(2).load_state_dict(make_engine(3).state_dict())


def test_loading_undoes_later_randomisation() -> None:
    engine, controls = make_engine(), random_controls(5, 3)
    saved = engine.state_dict()
    expected = rollout(engine, controls)
    engine.set_model_field("opt.gravity", torch.zeros(3, 3))
    engine.load_state_dict(saved)
    assert same(expected, rollout(engine, controls))


def test_asking_for_a_field_leaves_the_others_alone() -> None:
    engine = make_engine()
    engine.reset(torch.ones(3, dtype=torch.bool), *states(3, BOX_HALF_M + 0.002))
    rollout(engine, random_controls(10, 3))
    before = {name: engine.field(name).clone() for name in FIELDS}
    engine.field("cinert")
    engine.reset(torch.tensor(LOST), *states(3))
    assert all(torch.equal(engine.field(name)[::2], value[::2]) for name, value in before.items())


def test_asking_for_a_field_marks_no_world() -> None:
    engine = make_engine()
    lose_by_controls(engine)
    engine.field("cinert")
    engine.step(torch.zeros(3, 2), NSTEP)
    assert not engine.diverged.any()


def test_a_reset_in_which_mujoco_raises_marks_its_world() -> None:
    engine = make_engine(size=CRAMPED)
    engine.reset(torch.tensor(LOST), *states(3, BOX_HALF_M - 0.01))
    assert engine.diverged.tolist() == LOST


def test_closing_twice_is_closing() -> None:
    engine = make_engine()
    engine.close(), engine.close()
