"""What all tests share."""

from __future__ import annotations

import os

# Before anything imports torch: two threads that wait for each other on cores which somebody else
# uses are many times slower than one. It also makes results the same on every machine.
os.environ["OMP_NUM_THREADS"] = "1"
