"""Policies: network modules, and the file formats that they are saved in."""
