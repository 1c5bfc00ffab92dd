"""Runs one server and ends it when its owner is gone. Started as a script, stdlib only.

``python supervisor.py SHM_PREFIX GRACE_S PROGRAM [ARGUMENT ...]``: the owner holds the write end
of this process's standard input. When that end closes, for whatever reason (`stop`, a crash, a
kill), the server is asked to finish and killed after the grace period. A server that outlives this
process is ended by the kernel (`PR_SET_PDEATHSIG`). Shared memory that a killed server left behind
is removed, and so is the owner's folder of temporary files where the owner cannot do it any more.
"""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where POSIX shared memory is on Linux


def main(arguments: list[str]) -> int:
    """Run the server until it ends or the owner is gone; return its exit code."""
    shm_prefix, grace_s, folder, *command = arguments
    owner = os.getppid()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the owner's end of the pipe decides, alone
    libc = ctypes.CDLL(None)

    def follow_supervisor() -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

    server = subprocess.Popen(  # the script's own main thread forks, before any other thread
        command,
        stdin=subprocess.DEVNULL,
        preexec_fn=follow_supervisor,  # noqa: PLW1509 - no thread runs yet
    )
    threading.Thread(target=_end_with_owner, args=(server, float(grace_s)), daemon=True).start()
    code = server.wait()
    for region in _SHARED_MEMORY.glob(f"{shm_prefix}*"):
        region.unlink(missing_ok=True)
    if os.getppid() != owner:
        shutil.rmtree(folder, ignore_errors=True)
    return code


def _end_with_owner(server: "subprocess.Popen[bytes]", grace_s: float) -> None:
    while os.read(0, 4096):
        pass
    server.terminate()
    try:
        server.wait(grace_s)
    except subprocess.TimeoutExpired:
        server.kill()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
