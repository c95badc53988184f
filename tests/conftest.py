"""What all tests share."""

from __future__ import annotations

import os
import signal

# Before anything imports torch: two threads that wait for each other on cores which somebody else
# uses are many times slower than one. It also makes results the same on every machine.
os.environ["OMP_NUM_THREADS"] = "1"

# A shell that starts the tests in the background has the interrupt key ignored; tests of what the
# key does need the handler that Python has otherwise.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
