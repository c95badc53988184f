"""What leaves careamist: runs as Python scripts."""
