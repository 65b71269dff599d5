"""What people look at: videos and plots."""
