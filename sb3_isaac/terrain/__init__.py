"""Ground that is not flat: heights by difficulty, a heightfield for MuJoCo, and the height below any point."""
