"""A trained policy by itself: layers, module, file. Needs torch alone, and is used by tasks that stand on one."""
