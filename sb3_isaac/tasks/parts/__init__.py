"""What tasks are made of: the episode loop, and tables of commands, observations, rewards and terminations."""
