"""``train --track`` where wandb cannot be reached: ten seconds, for which wandb itself waits.

    python -m pytest tests/long_wandb.py
"""

from __future__ import annotations

from test_wandb import TRAIN, fresh, rows

from sb3_isaac.cli.main import main

__all__ = ["fresh"]


def test_a_network_that_fails_ends_no_training(tmp_path, monkeypatch, capsys):
    """Nothing listens at this address."""
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_API_KEY", "0123456789" * 4)
    monkeypatch.setenv("WANDB_INIT_TIMEOUT", "0.5")
    assert main([*TRAIN, "-n", "192", "-f", str(tmp_path / "logs"), "--track"]) == 0
    run = tmp_path / "logs" / "ppo" / "IsaacDoublePendulum-v0_1"
    (kept,) = (run / "wandb").glob("offline-run-*")
    out = capsys.readouterr().out
    assert "wandb: no run can be begun there (" in out and f"wandb sync {kept}" in out
    assert sorted(rows(kept)) == [192] and (run / "DONE").exists()
