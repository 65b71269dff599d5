"""MuJoCo Warp beside the CPU engine: the protocol's suite, states and forces, resets, overflow, randomised fields.

    python -m pytest tests/long_warp.py

On the GPU where there is one, else on Warp's CPU device, which runs the same kernels and graphs. The first run compiles
them (a CPU-minute, several minutes on a busy machine); they are kept in ~/.cache/warp: later runs take half a minute.
"""

from __future__ import annotations

import resource
import warnings
from typing import Any, Dict, Iterator, Tuple

import pytest
import torch

pytest.importorskip("mujoco_warp", reason="MuJoCo Warp is not installed: pip install 'sb3_isaac[warp]'")
import mujoco
from test_engine_protocol import *  # noqa: F403 - the suite, with the fixture below
from test_engine_protocol import XML, Case

from sb3_isaac.contract.errors import UserError
from sb3_isaac.engine.cpu import CpuEngine
from sb3_isaac.engine.ground_planes import point_pairs
from sb3_isaac.engine.warp import WarpEngine
from sb3_isaac.robots import get_robot
from sb3_isaac.sim import Simulator, make_simulator
from sb3_isaac.sim.params import PARAMS
from sb3_isaac.terrain.grid import terrain_grid
from sb3_isaac.terrain.height_map import HeightMap

ROBOT, N = get_robot("quadruped"), 64
DEVICE = "cuda:0" if torch.cuda.is_available() else "cpu"
EXACT = DEVICE == "cpu"
"""Whether results repeat bit for bit: sums of forces are in no fixed order on a GPU."""
POSE = torch.tensor(ROBOT.default_joint_pos)
FIELDS = ("qpos", "qvel", "sensordata", "actuator_force")
TYPICAL = {"qpos": 2e-6, "qvel": 4e-5, "sensordata": 1e-3, "actuator_force": 1e-4}
"""How far Warp's float32 may be from MuJoCo's float64: the median over worlds of a field's largest difference (m, rad;
m/s, rad/s; N and m; N·m). Measured: 4e-7, 7e-6, 1e-4, 1e-5 after 100 physics steps."""
TOGETHER = 0.85
"""The share of worlds that stay within ten times that for 100 physics steps: a foot that slips in one engine and holds
in the other parts them for good. Measured: all for 50 steps, 0.94 for 100."""


def warp(model: Any, n: int, threads: Any = None, **options: Any) -> WarpEngine:
    return WarpEngine(model, n, threads, device=DEVICE, **options)


@pytest.fixture
def case() -> Case:
    return Case(warp, 1e-5, exact=EXACT)


@pytest.fixture(scope="module")
def pair() -> Iterator[Tuple[Simulator, Simulator]]:
    """The same robots on Warp and on the CPU engine."""
    made = (make_simulator("mujoco_warp", ROBOT, N, device=DEVICE), make_simulator("mujoco", ROBOT, N, threads=1))
    yield made
    for sim in made:
        sim.close()


def place(sim: Simulator, mask: Any = None, height_m: float = ROBOT.base_height_m, seed: int = 0) -> None:
    """Robots on the ground in poses and at speeds that differ a little."""
    generator, joints = torch.Generator().manual_seed(seed), len(ROBOT.joints)

    def uniform(count: int) -> torch.Tensor:
        return torch.rand(N, count, generator=generator) * 2 - 1

    pos, level = torch.zeros(N, 3), torch.tensor([1.0, 0, 0, 0]).repeat(N, 1)
    pos[:, 2] = height_m
    given = (torch.ones(N, dtype=torch.bool) if mask is None else mask, pos, level, 0.2 * uniform(3),
             0.2 * uniform(3), POSE + 0.1 * uniform(joints), 0.5 * uniform(joints))
    sim.reset(*(value.to(engine_of(sim).device) for value in given))


def engine_of(sim: Simulator) -> Any:
    return sim.engine  # type: ignore[attr-defined]


def field(sim: Simulator, name: str) -> torch.Tensor:
    """A copy of a field, on the CPU."""
    return engine_of(sim).field(name).detach().cpu().clone()  # type: ignore[no-any-return]


def same(left: torch.Tensor, right: torch.Tensor, name: str) -> bool:
    """To the last bit where results repeat."""
    return torch.equal(left, right) if EXACT else torch.allclose(left, right, rtol=1e-5, atol=10 * TYPICAL[name])


def targets(step: int) -> torch.Tensor:
    phase = torch.rand(N, len(ROBOT.joints), generator=torch.Generator().manual_seed(1)) * 6.28
    return POSE + 0.15 * torch.sin(phase + 0.25 * step)


def differences(pair: Tuple[Simulator, Simulator]) -> Dict[str, torch.Tensor]:
    """Field -> the largest difference in each world, (N,)."""
    return {name: (field(pair[0], name) - field(pair[1], name)).abs().amax(dim=1) for name in FIELDS}


def steps(sims: Any, first: int, last: int) -> None:
    for step in range(first, last + 1):
        for sim in sims:
            sim.engine.step(targets(step).to(sim.engine.device), 1)


@pytest.mark.parametrize("count", [1, 10, 50, 100])
def test_states_and_contact_forces_are_the_cpu_engines(pair: Any, count: int) -> None:
    for sim in pair:
        place(sim)
    steps(pair, 1, count)
    force = pair[1].state.contact_force_w[..., 2]
    assert float(force.sum(dim=1).median()) > 30.0 and float(force.max()) > 50.0, "they stand and press"
    for name, difference in differences(pair).items():
        assert float(difference.median()) < TYPICAL[name], name
        assert float((difference < 10 * TYPICAL[name]).float().mean()) >= (1.0 if count <= 50 else TOGETHER), name


def test_a_reset_row_is_that_of_the_cpu_engine_and_others_go_on(pair: Any) -> None:
    """Forces included, at once; world 0 among them; those not reset go on to the bit as if nobody had been."""
    mask = torch.zeros(N, dtype=torch.bool)
    mask[[0, 5, 6, N - 1]] = True
    for sim in pair:
        place(sim)
    steps(pair, 1, 10)
    saved = pair[0].state_dict()
    steps(pair[:1], 11, 20)
    undisturbed = {name: field(pair[0], name) for name in FIELDS}
    pair[0].load_state_dict(saved)
    before = {name: field(pair[0], name) for name in FIELDS}
    for sim in pair:
        place(sim, mask, ROBOT.base_height_m - 0.05, seed=3)
    assert float(pair[0].state.contact_force_w.cpu()[mask][..., 2].amax(dim=1).min()) > 5.0, "they press at once"
    assert all(torch.equal(field(pair[0], name)[~mask], before[name][~mask]) for name in FIELDS)
    for count in (0, 10):
        steps(pair, 11, 10 + count)
        for name, difference in differences(pair).items():
            assert float(difference[mask].max()) < 10 * TYPICAL[name], (name, count)
    assert all(same(field(pair[0], name)[~mask], undisturbed[name][~mask], name) for name in FIELDS)


def test_a_diverged_world_is_found_stays_finite_and_comes_back_whole(pair: Any) -> None:
    sim = pair[0]
    engine = sim.engine
    bad = torch.zeros(N, dtype=torch.bool)
    bad[3] = True
    for poison in (float("nan"), float("inf"), 1e12):
        place(sim)
        steps([sim], 1, 5)
        qvel = engine.field("qvel").clone()
        qvel[3, 8] = poison
        engine.write(bad.to(engine.device), qvel=qvel)
        steps([sim], 6, 6)
        assert engine.diverged.tolist() == bad.tolist()
        assert all(engine.field(name).isfinite().all() for name in FIELDS)
        assert torch.equal(field(sim, "qpos")[3], torch.tensor(engine.model.qpos0).float())
        place(sim, bad)
        assert not engine.diverged.any()
        alone = [field(sim, name)[3] for name in FIELDS]
        place(sim)
        assert all(same(field(sim, name)[3], value, name) for name, value in zip(FIELDS, alone))
        steps([sim], 1, 10)
        assert engine.field("qpos").isfinite().all() and not engine.diverged.any()


RANDOM = {"trunk_mass": (5.0, 12.0), "link_mass": (0.7, 1.4), "com": (-0.05, 0.05), "friction": (0.3, 1.2),
          "kp": (20.0, 35.0), "kd": (0.4, 1.0), "motor_strength": (0.8, 1.2), "armature": (0.005, 0.02),
          "gravity": (-9.9, 1.0)}


@pytest.mark.parametrize("name", sorted(PARAMS))
def test_parameters_of_each_robot_act_as_on_the_cpu_engine(pair: Any, name: str) -> None:
    """In the midst of a run, so that graphs are captured again; by mask; and back."""
    low, high = RANDOM[name]
    generator = torch.Generator().manual_seed(4)
    values = low + (high - low) * torch.rand(N, *{"vector": (3,), "joint": (12,), "": ()}[PARAMS[name]],
                                             generator=generator)
    mask, everyone = torch.rand(N, generator=generator) < 0.5, torch.ones(N, dtype=torch.bool)
    original = pair[0].get_param(name)
    for sim in pair:
        place(sim)
    steps(pair, 1, 2)
    for sim in pair:
        sim.set_param(name, *(value.to(sim.engine.device) for value in (values, mask)))
        place(sim)
    steps(pair, 1, 20)
    for measure, difference in differences(pair).items():
        assert float(difference.median()) < TYPICAL[measure], measure
        assert float((difference < 10 * TYPICAL[measure]).float().mean()) >= TOGETHER, measure
    changed = field(pair[0], "qpos")
    for constant in ("body_subtreemass", "body_invweight0", "dof_invweight0"):
        left, right = (sim.engine.model_field(constant).cpu() for sim in pair)
        torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-6)
    for sim in pair:
        sim.set_param(name, *(value.to(sim.engine.device) for value in (original, everyone)))
        place(sim)
    steps(pair, 1, 20)
    apart = (field(pair[0], "qpos") - changed).abs().amax(dim=1)
    assert (apart[mask] > 1e-4).float().mean() > 0.9, "the parameter does something"
    assert float(apart[~mask].median() if not EXACT else apart[~mask].max()) < 1e-5, "where it was given"


def test_no_room_is_counted_once_and_told_with_the_size_to_choose() -> None:
    """Boxes that lie on the floor have four contacts each, and there is room for one."""
    engine = warp(mujoco.MjModel.from_xml_string(XML), 3, nconmax=1)
    qpos = torch.tensor([0.0, 0, 0.099, 1, 0, 0, 0, 0]).repeat(3, 1).to(DEVICE)
    everyone, still, force = (torch.ones(3, dtype=torch.bool).to(DEVICE), torch.zeros(3, 7).to(DEVICE),
                              torch.zeros(3, 1).to(DEVICE))
    with pytest.warns(UserWarning, match=r"no room for all contacts.*nconmax is 1, give --env-kwargs nconmax:2"):
        engine.reset(everyone, qpos, still)
        engine.step(force, 2)
        counts = engine.warnings()
    assert counts["contact_buffer_full"] >= 1 and counts["constraint_buffer_full"] == 0
    engine.reset(everyone, qpos + torch.tensor([0, 0, 2.0, 0, 0, 0, 0, 0]).to(DEVICE), still)
    engine.warnings()
    engine.step(force, 2)
    assert set(engine.warnings().values()) == {0}, "what was read is over"
    engine._overflow[0] |= int(engine._mjw.OverflowType.CONTACT_MATCH)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # more room would not help
        assert engine.warnings()["contact_buffer_full"] == 1
    engine._overflow[1] |= int(engine._mjw.OverflowType.NEFC)
    with pytest.warns(UserWarning, match=r"all constraints in 1 of 3 worlds.*njmax is 64.*njmax:128"):
        assert engine.warnings()["constraint_buffer_full"] == 1
    engine.close()


def test_memory_does_not_grow_with_steps(pair: Any) -> None:
    sim = pair[0]
    place(sim)
    steps([sim], 1, 50)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(10):
        steps([sim], 1, 50)
        place(sim)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 4000, "KB"


def test_what_warp_lacks_is_one_sentence() -> None:
    for option, why in (('solver="PGS"', "PGS"), ('integrator="implicitfast" jacobian="dense"', "nv > 60")):
        bodies = "".join(f'<body pos="{k} 0 9"><freejoint/><geom size="0.1"/></body>' for k in range(11))
        xml = f"<mujoco><option {option}/><worldbody>{bodies}</worldbody></mujoco>"
        with pytest.raises(UserError, match=rf"cannot simulate this model \(.*{why}.*\): .* use sim='mujoco'"):
            warp(mujoco.MjModel.from_xml_string(xml), 2)
    engine, model = warp(mujoco.MjModel.from_xml_string(XML), 2), mujoco.MjModel.from_xml_string(XML)
    other = CpuEngine(model, 2, 1)
    with pytest.raises(UserError, match="of another simulator"):
        engine.load_state_dict(other.state_dict())
    with pytest.raises(UserError, match=r"unknown MuJoCo model field 'geom_condim'"):
        engine.model_field("geom_condim")  # one for all worlds in Warp
    with pytest.raises(UserError, match=r"'body_mass' was given shape \(2, 5\): it takes \(2, 3\)"):
        engine.set_model_field("body_mass", torch.zeros(2, 5).to(DEVICE))
    engine.close()
    other.close()


def test_sizes_that_are_found_are_enough_for_robots_that_lie_about(pair: Any) -> None:
    engine, found = pair[0].engine, []  # type: ignore[var-annotated]
    generator = torch.Generator().manual_seed(5)
    quat = torch.nn.functional.normalize(torch.randn(N, 4, generator=generator), dim=1)
    pos = torch.zeros(N, 3)
    pos[:, 2] = 0.5
    still, joints = torch.zeros(N, 3), torch.zeros(N, 12)
    engine.warnings()
    given = (torch.ones(N, dtype=torch.bool), pos, quat, still, still, POSE.repeat(N, 1), joints)
    pair[0].reset(*(value.to(engine.device) for value in given))
    for step in range(150):
        engine.step(targets(step).to(engine.device), 1)
        found.append(int(engine._data.nacon.numpy()[0]))
    assert set(engine.warnings().values()) == {0}
    assert max(found) > 2 * N, "they lie on knees and trunks"


# ---- uneven ground

GROUND = terrain_grid({"levels": 4, "tiles": {"stairs_up": 1, "slope_up": 1, "rough": 1, "wave": 1}})


@pytest.fixture(scope="module")
def hilly() -> Iterator[Tuple[Simulator, Simulator]]:
    """Robots on the same uneven ground on Warp and on the CPU engine."""
    made = (make_simulator("mujoco_warp", ROBOT, N, device=DEVICE, ground=GROUND.ground),
            make_simulator("mujoco", ROBOT, N, threads=1, ground=GROUND.ground))
    yield made
    for sim in made:
        sim.close()


def drop(sim: Simulator, height_m: float = 0.02) -> torch.Tensor:
    """Robots above places all over the ground; (N, 2) m where."""
    generator, joints = torch.Generator().manual_seed(5), len(ROBOT.joints)
    origins = torch.from_numpy(GROUND.origins).float().flatten(0, 1)
    where = origins[torch.arange(N) % len(origins)].clone()
    where[:, :2] += 5.0 * torch.rand(N, 2, generator=generator) - 2.5
    where[:, 2] = HeightMap(GROUND.ground).exact_height_at(where[:, 0], where[:, 1]) + ROBOT.base_height_m + height_m
    given = (torch.ones(N, dtype=torch.bool), where, torch.tensor([1.0, 0, 0, 0]).repeat(N, 1), torch.zeros(N, 3),
             torch.zeros(N, 3), POSE.repeat(N, 1), torch.zeros(N, joints))
    sim.reset(*(value.to(engine_of(sim).device) for value in given))
    return where[:, :2]


def test_each_plane_is_the_ground_below_its_point(hilly: Any) -> None:
    """By the exact heights of the same ground: a plane passes through it where it is close to its point."""
    sim = hilly[0]
    drop(sim)
    engine, ground = engine_of(sim), HeightMap(GROUND.ground)
    points, planes = point_pairs(engine.model)
    data = engine._data
    xpos, xmat = (engine._wp.to_torch(array).cpu() for array in (data.geom_xpos, data.geom_xmat))
    at, normal = xpos[:, planes], xmat[:, planes, :, 2]
    between = xpos[:, points] - at
    distance = (between * normal).sum(dim=-1)
    off = (at[..., 2] - ground.exact_height_at(at[..., 0], at[..., 1])).abs()
    close = distance < 0.05
    assert int(close.sum()) > N and float((off[close] < 2e-3).float().mean()) > 0.9, "but beyond convex edges"
    assert float(off[close].max()) < 0.03
    assert float(normal[..., 2].min()) > 0.2
    torch.testing.assert_close(normal.norm(dim=-1), torch.ones_like(off), rtol=0.0, atol=1e-5)
    torch.testing.assert_close(between, distance[..., None] * normal, rtol=0.0, atol=1e-4)
    vertical = xpos[:, points, 2] - ground.exact_height_at(xpos[:, points, 0], xpos[:, points, 1])
    assert bool((distance <= vertical.clamp(min=0.0) + 1e-4).all()), "never further than straight below"


def test_robots_rest_on_uneven_ground_as_on_the_cpu_engines_heightfield(hilly: Any) -> None:
    ground = HeightMap(GROUND.ground)
    heights = []
    for sim in hilly:
        drop(sim)
        for _ in range(40):
            sim.step(POSE.repeat(N, 1).to(engine_of(sim).device))
        feet = sim.state.foot_pos_w.cpu()
        above = feet[..., 2] - ground.exact_height_at(feet[..., 0], feet[..., 1])
        if sim is hilly[0]:
            assert float(above.min()) > -0.01, "no foot sinks in"
        assert not bool(sim.diverged.any())
        pressed = sim.state.contact_force_w.cpu().sum(dim=1)[:, 2] / sim.weight_n
        assert 0.8 < float(pressed.median()) < 1.2
        heights.append(sim.state.root_pos_w.cpu().clone())
    apart = (heights[0] - heights[1]).norm(dim=1)
    assert float(apart.median()) < 0.03, "m, after 0.8 s"
