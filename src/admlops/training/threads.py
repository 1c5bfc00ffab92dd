"""How torch's threads wait for each other; to be called before torch is imported.

By default they spin. Where another process holds one of the cores, each spins away the time that
the other needs: a training step on two cores took ten times as long beside one busy process, and
twice as long when waiting threads sleep instead. On idle cores sleeping costs a tenth.
"""

import os

WAIT_POLICY = "OMP_WAIT_POLICY"


def sleep_while_waiting() -> None:
    """Let waiting threads sleep, unless the environment already says how they wait.

    It has no effect in a process that has imported torch already; it is then left to the caller.
    """
    os.environ.setdefault(WAIT_POLICY, "PASSIVE")
