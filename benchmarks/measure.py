"""Runs a command and writes what it took, as JSON, to a descriptor: `measure.py FD COMMAND...`

A small process of its own: Linux counts the peak memory of a process that starts another as the other's too.
"""

import json
import os
import sys
import time

began = time.perf_counter()
pid = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(pid, 0)
seconds, cpu = time.perf_counter() - began, usage.ru_utime + usage.ru_stime
took = {"seconds": seconds, "cpu": cpu, "peak": usage.ru_maxrss * 1024, "code": os.waitstatus_to_exitcode(status)}
os.write(int(sys.argv[1]), json.dumps(took).encode())
