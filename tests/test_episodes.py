"""What evaluation keeps of first episodes, worked by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from sb3_isaac.contract.episodes import Episodes
from sb3_isaac.contract.errors import UserError


def add(episodes: Episodes, reward: Any, height: Any, contact: Any, over: Any = (0, 0, 0), late: Any = (0, 0, 0),
        diverged: Any = (0, 0, 0)) -> None:
    log = {"height_m": torch.tensor(height), "contact": torch.tensor(contact) > 0,
           "bad_world": torch.tensor(diverged) > 0}
    episodes.add(torch.tensor(reward), torch.tensor(over) > 0, torch.tensor(late) > 0, log)


def test_sums_means_and_extremes_of_first_episodes_alone() -> None:
    """The first falls at its second step, the second runs out of time at the third, the third diverges."""
    nan = float("nan")
    episodes = Episodes(3, torch.device("cpu"), control_dt=0.5)
    add(episodes, [1.0, 10.0, 100.0], [2.0, 5.0, 9.0], [[1, 0], [0, 0], [1, 1]])
    add(episodes, [2.0, 20.0, nan], [1.0, 6.0, nan], [[1, 1], [0, 1], [0, 0]], over=(1, 0, 1), diverged=(0, 0, 1))
    add(episodes, [4.0, 30.0, 7.0], [7.0, 4.0, 1.0], [[0, 0], [1, 1], [0, 0]], late=(0, 1, 0))
    assert not episodes.running.any() and episodes.good.tolist() == [True, True, False]
    assert episodes.reward[:2].tolist() == [3.0, 60.0] and episodes.length.tolist() == [2.0, 3.0, 2.0]
    assert episodes.terminated.tolist() == [True, False, False]
    assert episodes.sum("height_m").tolist() == [3.0, 15.0] and episodes.mean("height_m").tolist() == [1.5, 5.0]
    assert episodes.least("height_m").tolist() == [1.0, 4.0] and episodes.greatest("height_m").tolist() == [2.0, 6.0]
    assert episodes.sum("contact").tolist() == [[2.0, 1.0], [1.0, 2.0]]
    assert episodes.mean("contact")[0].tolist() == [1.0, 0.5]


def test_a_measure_that_is_not_there_or_goes_is_one_sentence() -> None:
    episodes = Episodes(3, torch.device("cpu"))
    add(episodes, [1.0] * 3, [1.0] * 3, [[0]] * 3)
    with pytest.raises(UserError, match="did you mean 'height_m'"):
        episodes.mean("heigth_m")
    with pytest.raises(UserError, match=r"names in Step\.log changed"):
        episodes.add(torch.ones(3), torch.zeros(3) > 0, torch.zeros(3) > 0, {"height_m": torch.ones(3)})
