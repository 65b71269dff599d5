"""Six changed parameters are found again within 5% from 20 s at 200 Hz with noise (ten seconds on a free core).

Run: ``python -m pytest tests/long_sysid.py -s``
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from sb3_isaac.cli.main import main

TRUE = {"armature": 1.4, "damping": 0.25, "friction": 0.12, "motor_strength": 0.85, "latency_s": 0.0125,
        "payload_kg": 2.0}


def test_six_parameters_are_found_within_a_twentieth(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    logs, robot = [str(tmp_path / "log.csv"), "--standing", str(tmp_path / "stand.csv")], tmp_path / "found.yml"
    assert main(["sysid", *logs, "--record", "--with", *(f"{name}:{value}" for name, value in TRUE.items())]) == 0
    capsys.readouterr()
    assert main(["sysid", *logs, "--json", "--yaml", str(robot)]) == 0
    found = json.loads(capsys.readouterr().out)
    print(found)
    for name, value in TRUE.items():
        assert found[name]["value"] == pytest.approx(value, rel=0.05)
    assert yaml.safe_load(robot.read_text())["friction_nm"] == pytest.approx(0.12, rel=0.05)
