"""What sim='mujoco_warp' says before a kernel is compiled: what is missing, what does not fit, what Warp lacks.

What needs kernels is in long_warp.py. ``warp`` and ``mujoco_warp`` are stood in for where they are asked for a fact.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from sb3_isaac import IsaacVecEnv
from sb3_isaac.cli.list import lines
from sb3_isaac.contract.errors import UserError
from sb3_isaac.robots import get_robot

mujoco = pytest.importorskip("mujoco")
from sb3_isaac.engine import warp_setup  # noqa: E402
from sb3_isaac.engine.cpu import CpuEngine  # noqa: E402
from sb3_isaac.sim.scene import compose_scene  # noqa: E402

MODEL = compose_scene(get_robot("quadruped"), 0.01)


def stand_in(**facts: Any) -> Any:
    return SimpleNamespace(**{"init": lambda: None, "__version__": "9.9", **facts})


def test_without_warp_the_sentence_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "warp", None)
    with pytest.raises(UserError, match=r"needs MuJoCo Warp.*pip install 'sb3_isaac\[warp\]', or use sim='mujoco'"):
        IsaacVecEnv("IsaacQuadrupedFlat-v0", num_envs=2, sim="mujoco_warp")


def test_a_mujoco_warp_of_another_time_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """An older one asks MuJoCo for names that it no longer has."""
    monkeypatch.setitem(sys.modules, "warp", stand_in(LOG_ERROR=40, config=SimpleNamespace(log_level=20)))
    real = warp_setup.importlib.import_module

    def import_module(name: str) -> Any:
        if name == "mujoco_warp":
            raise AttributeError("module 'mujoco' has no attribute 'mjNPOLY'")
        return real(name)

    monkeypatch.setattr(warp_setup.importlib, "import_module", import_module)
    with pytest.raises(UserError, match=r"does not fit MuJoCo .*mjNPOLY.*pip install"):
        warp_setup.libraries()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_one_sentence() -> None:
    with pytest.raises(UserError, match=r"device 'cuda' is not available here: give 'auto', 'cpu'"):
        warp_setup.warp_device("cuda", stand_in())


def test_a_driver_too_old_for_warp_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warp_setup, "usable_device", lambda name: torch.device(name))
    warp = stand_in(is_device_available=lambda name: False)
    with pytest.raises(UserError, match=r"there for PyTorch and not for Warp 9.9.*newer driver"):
        warp_setup.warp_device("cuda:0", warp)
    found = warp_setup.warp_device("cuda:0", stand_in(is_device_available=lambda name: True))
    assert found == torch.device("cuda:0")


def test_auto_takes_the_gpu_and_tells_where_there_is_none(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(warp_setup, "usable_device", lambda name: torch.device("cpu" if name == "auto" else name))
    for there, device in ((True, "cuda:0"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        found = warp_setup.warp_device("auto", stand_in(is_device_available=lambda name: True))
        assert found == torch.device(device)
        assert ("found no GPU" in capsys.readouterr().err) is not there


def test_what_warp_lacks_is_one_sentence() -> None:
    def put_model(model: Any) -> None:
        raise NotImplementedError("mjSOL_PGS is unsupported.")

    with pytest.raises(UserError, match=r"cannot simulate this model \(mjSOL_PGS is unsupported\).*use sim='mujoco'"):
        warp_setup.put_model(MODEL, stand_in(), SimpleNamespace(put_model=put_model))


def test_sizes_are_those_given_or_those_that_a_fall_needs() -> None:
    contacts, rows = warp_setup.most_contacts(MODEL)
    assert (contacts, rows) == warp_setup.most_contacts(MODEL)
    assert 4 <= contacts <= 16 and rows >= 4 * contacts, "a pyramid has four rows a contact; joints' limits add to them"
    sizes = warp_setup.choose_sizes(MODEL, None, None)
    assert sizes.nconmax >= 1.5 * contacts and sizes.njmax >= 1.5 * rows
    assert sizes.njmax in (64, 128), "few sizes, for kernels are compiled for each"
    assert warp_setup.choose_sizes(MODEL, 7, 9) == (7, 9)
    for bad in (0, -1, 2.5, True, "many"):
        with pytest.raises(UserError, match=r"nconmax is .*whole number of at least 1"):
            warp_setup.choose_sizes(MODEL, bad, None)  # type: ignore[arg-type]


def test_more_worlds_than_memory_says_how_many_fit() -> None:
    device = torch.device("cuda:0")
    warp_setup.check_worlds_fit(1000, 40_000, 40_000_000, device)
    with pytest.raises(UserError, match=r"1001 worlds need about 0.0 GB .* on cuda:0: give at most 1000 \(--num-envs"):
        warp_setup.check_worlds_fit(1001, 40_000, 40_000_000, device)


def test_a_worlds_bytes_are_what_one_more_adds() -> None:
    @dataclasses.dataclass
    class Inner:
        force: Any

    @dataclasses.dataclass
    class Data:
        qpos: Any
        efc: Inner
        nworld: int

    def make_data(model: Any, nworld: int, nconmax: int, njmax: int) -> Data:
        return Data(SimpleNamespace(capacity=100 + 4 * nworld), Inner(SimpleNamespace(capacity=njmax * nworld)), nworld)

    mjw = SimpleNamespace(make_data=make_data)
    assert warp_setup.bytes_for_each(MODEL, mjw, warp_setup.Sizes(24, 64)) == 2 * (4 + 64)


def test_a_long_start_says_why_and_a_short_one_nothing(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    warp = SimpleNamespace(config=SimpleNamespace(kernel_cache_dir="/the/cache"))
    monkeypatch.setattr(warp_setup, "SLOW_S", 0.01)
    with warp_setup.said_where_slow(warp):
        time.sleep(0.3)
    assert "prepares its kernels" in (err := capsys.readouterr().err) and "/the/cache" in err
    monkeypatch.setattr(warp_setup, "SLOW_S", 100.0)
    with warp_setup.said_where_slow(warp):
        pass
    assert not any(capsys.readouterr())


def test_a_simulation_that_warp_saved_is_refused_on_the_cpu() -> None:
    engine = CpuEngine(MODEL, 2, 1)
    with pytest.raises(UserError, match=r"state of another simulator .*continue with the same simulator"):
        engine.load_state_dict({"warp": {}, "diverged": torch.zeros(2, dtype=torch.bool), "fields": {}, "model": {}})
    engine.close()


def test_the_list_names_the_simulators() -> None:
    assert "simulators (--env-kwargs sim:NAME): auto, mujoco, mujoco_warp, isaacgym" in lines()
