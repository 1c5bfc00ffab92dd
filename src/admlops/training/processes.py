"""Several processes that train together: torchrun starts them, and they join one group."""

import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from admlops import errors
from admlops.errors import AdmlopsError, DataError, ServiceError
from admlops.files import write_atomically

_TORCHRUN_VARIABLE = "TORCHELASTIC_RUN_ID"
_THREADS_VARIABLE = "OMP_NUM_THREADS"
_PATIENCE = timedelta(minutes=30)
"""How long a process waits for the others at a common point."""
_ANSWER_FILE = "answer.json"
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
_LOOK_S = 1.0
"""Between two looks at whether the starter still lives."""


def started_by_torchrun() -> bool:
    """Return whether torchrun started this process, here or in a TrainJob's pod."""
    return _TORCHRUN_VARIABLE in os.environ


@dataclass(frozen=True, slots=True)
class Group:
    """This process among those that train together; a group of one needs no torchrun.

    Attributes:
        rank: its number among all, from 0.
        local_rank: its number on this machine, from 0.
        size: processes on all machines.
        local_size: processes on this machine.
        on_gpu: whether each has a GPU.
    """

    rank: int = 0
    local_rank: int = 0
    size: int = 1
    local_size: int = 1
    on_gpu: bool = False

    @property
    def num_machines(self) -> int:
        """Return how many machines train together."""
        return self.size // self.local_size

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.size > 1:
            from torch import distributed

            distributed.barrier()

    @contextmanager
    def first_on_machine(self) -> Iterator[None]:
        """Let one process of each machine do the block before the others, to fill a cache."""
        if self.local_rank > 0:
            self.wait()
        yield
        if self.local_rank == 0:
            self.wait()

    def agree(self, claim: bool, what: str) -> bool:
        """Return what all processes see alike.

        Raises:
            DataError: they see different things; names `what`.
        """
        if self.size == 1:
            return claim
        from torch import distributed

        claims: list[Any] = [None] * self.size
        distributed.all_gather_object(claims, claim)
        if len(set(claims)) > 1:
            seeing = [rank for rank, seen in enumerate(claims) if seen]
            raise DataError(
                f"{what}: only the processes {seeing} of {self.size} find it; give a work_folder "
                "on a disk that all machines share"
            )
        return claim


@contextmanager
def join_group(*, on_gpu: bool) -> Iterator[Group]:
    """Join the processes that torchrun started; a process of its own is a group of one.

    A process that fails leaves without a word: torchrun ends the others.
    """
    size = int(os.environ["WORLD_SIZE"]) if started_by_torchrun() else 1
    if size == 1:
        yield Group(on_gpu=on_gpu)
        return
    import torch

    numbers = [int(os.environ[name]) for name in ("RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE")]
    group = Group(numbers[0], numbers[1], size, numbers[2], on_gpu)
    if on_gpu:
        torch.cuda.set_device(group.local_rank)
    torch.distributed.init_process_group("nccl" if on_gpu else "gloo", timeout=_PATIENCE)
    yield group
    torch.distributed.destroy_process_group()


def run_processes(
    count: int, module: str, request: Mapping[str, Any], *, what: str
) -> dict[str, Any]:
    """Run ``python -m <module> FOLDER`` in `count` processes of this machine, under torchrun.

    Args:
        count: how many.
        module: calls `answer_request`.
        request: what each is given; JSON.
        what: what they do, for messages.

    Returns:
        What the first process answered.

    Raises:
        AdmlopsError: of the kind that a process raised, with its message.
        ServiceError: a process died, or ended without a word.
    """
    from torch.distributed import run as torchrun
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    with tempfile.TemporaryDirectory() as folder, _surroundings_for(count):
        where = Path(folder)
        write_atomically(where / "request.json", json.dumps(request))
        flags = ["--standalone", f"--nproc-per-node={count}", f"--log-dir={where / 'logs'}"]
        try:
            torchrun.run(torchrun.parse_args([*flags, "-m", module, folder]))  # type: ignore[no-untyped-call]
        except ChildFailedError as error:
            _raise_first(where)
            codes = {one.local_rank: one.exitcode for one in error.failures.values()}
            rank = _first_dead(codes)
            raise ServiceError(
                f"{what}: process {rank} of {count} {_end_of(codes[rank])}, so the "
                "others were ended; what it printed is above. Run the step again: it goes on from "
                "the last checkpoint"
            ) from error
        answer: dict[str, Any] = json.loads((where / _ANSWER_FILE).read_bytes())
    return answer


def answer_request(run: Callable[[dict[str, Any]], Mapping[str, Any]]) -> None:
    """Be one of the processes of `run_processes`: read the request, run it, answer or explain.

    torchrun gives each a session of its own, so one must see for itself that its starter is gone.
    """
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    folder, rank = Path(sys.argv[1]), int(os.environ["RANK"])
    try:
        answer = run(json.loads((folder / "request.json").read_bytes()))
    except AdmlopsError as error:
        problem = {"kind": type(error).__name__, "message": str(error)}
        write_atomically(folder / f"error-{rank:05d}.json", json.dumps(problem))
        raise SystemExit(1) from error
    if rank == 0:
        write_atomically(folder / _ANSWER_FILE, json.dumps(dict(answer)))


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_S)
    os._exit(1)


def _raise_first(folder: Path) -> None:
    """Raise what the first process that could explain itself raised."""
    for path in sorted(folder.glob("error-*.json")):
        problem = json.loads(path.read_bytes())
        kind: type[AdmlopsError] = getattr(errors, problem["kind"], ServiceError)
        raise kind(problem["message"])


def _first_dead(exit_codes: Mapping[int, int]) -> int:
    """Return the process that died first.

    One that is killed makes others fail, and torchrun ends those that are left with SIGTERM.
    """
    order = {rank: (code == -signal.SIGTERM, code >= 0) for rank, code in exit_codes.items()}
    return min(order, key=lambda rank: (order[rank], rank))


def _end_of(exit_code: int) -> str:
    if exit_code >= 0:
        return f"ended with exit code {exit_code}"
    name = signal.Signals(-exit_code).name
    hint = ", perhaps for want of memory" if name == "SIGKILL" else ""
    return f"was killed by {name}{hint}"


@contextmanager
def _surroundings_for(count: int) -> Iterator[None]:
    """Divide the cores among the processes, unless the environment already says how.

    torchrun's handlers of signals stay in the process that called it; here they do not.
    """
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    before = os.environ.get(_THREADS_VARIABLE)
    cores = len(os.sched_getaffinity(0))
    os.environ[_THREADS_VARIABLE] = before or str(max(cores // count, 1))
    try:
        yield
    finally:
        if before is None:
            del os.environ[_THREADS_VARIABLE]
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():
                if handler is not None:  # None is one that was not set from Python
                    signal.signal(number, handler)
