"""Robots and scenes as they are described: URDF, MJCF, assets, actors, ground, one composed MuJoCo model."""
