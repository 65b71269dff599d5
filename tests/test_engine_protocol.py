"""What every engine owes: one suite for all of them, with a tolerance for each. A new engine is one more entry."""

from __future__ import annotations

from typing import Any, Callable, Dict, NamedTuple, Optional

import pytest
import torch

from sb3_isaac.contract.errors import UserError
from sb3_isaac.engine import WARNINGS, Engine

mujoco = pytest.importorskip("mujoco")
from sb3_isaac.engine.cpu import CpuEngine  # noqa: E402

DT = 0.005
BOX_HALF_M, BOX_KG, CART_KG = 0.1, 2.0, 4.0
XML = f"""
<mujoco>
  <option timestep="{DT}" integrator="implicitfast" jacobian="dense"/>
  <worldbody>
    <geom name="floor" type="plane" size="0 0 1"/>
    <body name="box" pos="0 0 1"><freejoint/>
      <geom type="box" size="{BOX_HALF_M} {BOX_HALF_M} {BOX_HALF_M}" mass="{BOX_KG}"/></body>
    <body name="cart" pos="3 0 1"><joint name="rail" type="slide" axis="1 0 0"/>
      <geom type="sphere" size="0.05" mass="{CART_KG}"/></body>
  </worldbody>
  <actuator><motor joint="rail"/></actuator>
  <sensor><contact body2="box" data="force" reduce="netforce" num="1"/>
    <framepos objtype="xbody" objname="box"/></sensor>
</mujoco>"""
SECOND = torch.tensor([False, True, False])
EVERYONE = torch.ones(3, dtype=torch.bool)


class Case(NamedTuple):
    """An engine, how it is made, and how far its float32 figures may be from the arithmetic."""

    make: Callable[[Any, int, Optional[int]], Engine]
    tolerance: float
    exact: bool
    """Whether it continues from a saved state bit for bit."""


ENGINES: Dict[str, Case] = {"cpu": Case(CpuEngine, 1e-5, exact=True)}


@pytest.fixture(params=sorted(ENGINES))
def case(request: pytest.FixtureRequest) -> Case:
    return ENGINES[request.param]


@pytest.fixture
def engine(case: Case):
    engine = make(case)
    yield engine
    engine.close()


def make(case: Case) -> Engine:
    engine = case.make(mujoco.MjModel.from_xml_string(XML), 3, 1)
    for name in ("qpos", "qvel", "sensordata", "actuator_force"):
        engine.field(name)
    return engine


def state(engine: Engine, height_m: float = 1.0):
    """(qpos, qvel) of boxes at rest at this height, carts at 0."""
    qpos = torch.tensor([0.0, 0, height_m, 1, 0, 0, 0, 0], device=engine.device).repeat(3, 1)
    return qpos, torch.zeros(3, 7, device=engine.device)


def ctrl(engine: Engine, force_n: float = 0.0) -> torch.Tensor:
    return torch.full((3, 1), force_n, device=engine.device)


def close(case: Case, given: torch.Tensor, expected: Any) -> None:
    expected = torch.as_tensor(expected, dtype=torch.float32).cpu()
    torch.testing.assert_close(given.cpu().float(), expected.expand(given.shape), atol=case.tolerance,
                               rtol=case.tolerance)


def test_members_are_those_of_the_protocol(engine: Engine) -> None:
    assert engine.num_worlds == 3 and engine.threads >= 1 and engine.timestep_s == pytest.approx(DT)
    assert engine.model.nu == 1 and engine.diverged.shape == (3,) and engine.diverged.dtype == torch.bool
    assert engine.field("qpos").shape == (3, 8) and engine.field("qpos").dtype == torch.float32
    assert engine.field("qpos").device == engine.diverged.device == engine.device
    assert set(engine.warnings()) == set(WARNINGS)


def test_a_force_accelerates_and_addresses_stay(case: Case, engine: Engine) -> None:
    addresses = {name: engine.field(name).data_ptr() for name in ("qpos", "qvel", "sensordata")}
    before = engine.physics_s
    engine.step(ctrl(engine, 8.0), 10)
    close(case, engine.field("qvel")[:, 6], 8.0 / CART_KG * 10 * DT)
    close(case, engine.field("qvel")[:, 2], -9.81 * 10 * DT)
    close(case, engine.field("actuator_force"), 8.0)
    assert engine.physics_s > before
    assert {name: engine.field(name).data_ptr() for name in addresses} == addresses


def test_each_physics_step_may_have_its_own_controls(case: Case, engine: Engine) -> None:
    """8 N in the first of three physics steps, none in the second, −4 N in the last; then one call with 4 N for all."""
    engine.step(torch.stack([ctrl(engine, force_n) for force_n in (8.0, 0.0, -4.0)]), 3)
    close(case, engine.field("qvel")[:, 6], (8.0 - 4.0) / CART_KG * DT)
    close(case, engine.field("qvel")[:, 2], -9.81 * 3 * DT)
    close(case, engine.field("actuator_force"), -4.0)
    engine.step(ctrl(engine, 4.0), 2)
    close(case, engine.field("qvel")[:, 6], (4.0 + 2 * 4.0) / CART_KG * DT)


def test_a_world_that_diverges_in_any_physics_step_is_marked(engine: Engine) -> None:
    control = torch.zeros(2, 3, 1, device=engine.device)
    control[0, 1] = float("nan")
    engine.step(control, 2)
    assert engine.diverged.tolist() == SECOND.tolist()


def test_states_are_of_now_and_sensors_of_the_last_physics_steps_start(case: Case, engine: Engine) -> None:
    engine.step(ctrl(engine), 4)
    fallen = [9.81 * DT * DT * n * (n + 1) / 2 for n in (3, 4)]
    close(case, engine.field("sensordata")[:, 5], 1.0 - fallen[0])
    close(case, engine.field("qpos")[:, 2], 1.0 - fallen[1])
    engine.update()
    close(case, engine.live("sensordata")[:, 5], 1.0 - fallen[1])


def test_a_reset_is_by_mask_and_leaves_everything_current(case: Case, engine: Engine) -> None:
    engine.step(ctrl(engine, 8.0), 10)
    before = {name: engine.field(name).clone() for name in ("qpos", "qvel", "sensordata")}
    qpos, qvel = state(engine, BOX_HALF_M - 0.001)
    others = ~SECOND.to(engine.device)
    qpos[others] = qvel[others] = float("nan")  # rows that are not masked are not read
    engine.reset(SECOND.to(engine.device), qpos, qvel)
    for name, value in before.items():
        assert torch.equal(engine.field(name)[others], value[others]), name
    close(case, engine.field("qpos")[1], qpos[1])
    close(case, engine.field("sensordata")[1, 3:], qpos[1, :3])
    assert float(engine.field("sensordata")[1, 2]) > 1.0 and not engine.diverged.any()
    engine.step(ctrl(engine), 1)
    assert float(engine.field("qvel")[1, 6]) == 0.0, "its controls were reset too"


def test_a_written_velocity_moves_the_masked_world_alone(case: Case, engine: Engine) -> None:
    qvel = torch.full((3, 7), float("nan"), device=engine.device)
    qvel[1] = torch.tensor([1.0, 0, 0, 0, 0, 0, 2.0])
    engine.write(SECOND.to(engine.device), qvel=qvel)
    close(case, engine.field("qvel")[:, 0], [0.0, 1.0, 0.0])
    engine.step(ctrl(engine), 20)
    close(case, engine.field("qpos")[:, 0], [0.0, 20 * DT, 0.0])
    close(case, engine.field("qpos")[:, 7], [0.0, 2.0 * 20 * DT, 0.0])
    qpos = state(engine, 2.0)[0]
    engine.write(SECOND.to(engine.device), qpos=qpos)
    close(case, engine.field("qpos")[1], qpos[1])
    assert float(engine.field("qpos")[0, 2]) < 1.0


def test_a_diverged_world_is_marked_alone_and_comes_back_by_reset(engine: Engine) -> None:
    control = ctrl(engine)
    control[1] = float("nan")
    marks = engine.diverged
    engine.step(control, 2)
    assert engine.diverged.tolist() == SECOND.tolist()
    engine.reset(engine.diverged.clone(), *state(engine))
    engine.step(ctrl(engine), 2)
    assert not engine.diverged.any() and engine.diverged is marks
    assert engine.field("qpos").isfinite().all()


def test_model_fields_are_each_worlds_own_and_constants_follow(case: Case, engine: Engine) -> None:
    mass = engine.model_field("body_mass")
    mass[:, 2] *= 2.0
    engine.set_model_field("body_mass", mass, SECOND.to(engine.device))
    engine.step(ctrl(engine, 8.0), 10)
    close(case, engine.field("qvel")[:, 6], torch.tensor([1.0, 0.5, 1.0]) * 8.0 / CART_KG * 10 * DT)
    close(case, engine.model_field("body_subtreemass")[:, 0], torch.tensor([0.0, CART_KG, 0.0]) + BOX_KG + CART_KG)


def test_a_saved_engine_goes_on(case: Case, engine: Engine) -> None:
    engine.reset(EVERYONE.to(engine.device), *state(engine, BOX_HALF_M + 0.01))
    engine.step(ctrl(engine, 8.0), 10)
    other = make(case)
    other.load_state_dict(engine.state_dict())
    for _ in range(2):
        for name in ("qpos", "qvel", "sensordata", "actuator_force"):
            left, right = engine.field(name), other.field(name)
            assert torch.equal(left, right) if case.exact else torch.allclose(left, right, atol=case.tolerance), name
        engine.step(ctrl(engine, -3.0), 10)
        other.step(ctrl(other, -3.0), 10)
    other.close()


def test_a_world_can_be_looked_at(case: Case, engine: Engine) -> None:
    engine.step(ctrl(engine), 10)
    data = engine.mj_data(1)
    assert float(data.body("box").xpos[2]) == pytest.approx(float(engine.field("qpos")[1, 2]), abs=case.tolerance)


def test_unknown_fields_are_one_sentence(engine: Engine) -> None:
    for call in (engine.field, engine.live, engine.model_field):
        with pytest.raises(UserError, match=r"unknown MuJoCo .* 'nothing'"):
            call("nothing")
