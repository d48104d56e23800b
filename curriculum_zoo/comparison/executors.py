"""Where cells run: processes side by side, Slurm, a Ray cluster; each as a `concurrent.futures.Executor`.

None of them is a scheduler of ours: processes are the standard library's, Slurm is reached by submitit, clusters and
single machines by Ray. A call whose worker is lost raises, and the executor goes on; calls are then simply made again.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import multiprocessing
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ..errors import ComparisonError
from ..recipes import read_setting

__all__ = ["LocalWorkers", "RayExecutor", "Resources", "SlurmExecutor", "executor_for", "running_on"]

T = TypeVar("T")


@dataclass(frozen=True)
class Resources:
    """What a cell asks a cluster for.

    Attributes:
        cpus: processor cores.
        gpus: graphics processors; a fraction where the cluster shares them.
        memory_gb: main memory; None for the cluster's own default.
    """

    cpus: int = 1
    gpus: float = 0
    memory_gb: float | None = None


def executor_for(place: str, resources: Resources, folder: Path) -> Executor | None:
    """The executor of a place as the command line names it; None for this process.

    Args:
        place: ``local`` for this process, ``local:N`` for N processes side by side, ``ray`` or ``ray:ADDRESS``,
            ``slurm`` or ``slurm:KEY=VALUE,…`` with parameters as submitit has them.
        resources: what a cell asks a cluster for.
        folder: where submitit keeps its files.

    Raises:
        ComparisonError: there is no such place, or what it needs is not installed.
    """
    name, colon, rest = place.partition(":")
    if name == "local" and not colon:
        return None
    if name == "local" and rest.isdecimal() and int(rest) > 0:
        return LocalWorkers(int(rest))
    if name == "ray":
        return RayExecutor(resources, address=rest or None)
    if name == "slurm":
        return SlurmExecutor.on_cluster(folder, resources, dict(map(read_setting, filter(None, rest.split(",")))))
    raise ComparisonError(
        f"--on {place}: expected local, local:N with N from 1, slurm, slurm:KEY=VALUE,…, ray or ray:ADDRESS."
    )


@contextlib.contextmanager
def running_on(place: str, resources: Resources, folder: Path) -> Iterator[Executor | None]:
    """The executor of a place, shut down at the end: at once, with what runs on it, where that comes by an error.

    Args:
        place: as for `executor_for`.
        resources: what a cell asks a cluster for.
        folder: the comparison's; submitit keeps its files in it.
    """
    executor = executor_for(place, resources, folder / "slurm")
    try:
        yield executor
    except BaseException:
        if executor is not None:
            executor.shutdown(cancel_futures=True)
        raise
    if executor is not None:
        executor.shutdown()


class LocalWorkers(Executor):
    """Processes side by side on this machine, each with its share of the cores, kept from one call to the next.

    Each is a `ProcessPoolExecutor` of its own, so that one that is lost fails its own call alone; its successor takes
    the next call. Workers ignore Ctrl-C, which is the parent's to handle, and end with the parent, however that ends.

    Args:
        workers: how many.
    """

    def __init__(self, workers: int) -> None:
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="lane")
        self._free: queue.SimpleQueue[_Lane] = queue.SimpleQueue()
        self._lanes = [_Lane(number, workers) for number in range(workers)]
        for lane in self._lanes:
            self._free.put(lane)

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Call a function in one of the processes; both and the arguments are pickled."""
        return self._threads.submit(self._call, fn, args, kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes; with `cancel_futures` at once, also those that are at work."""
        if cancel_futures:
            for lane in self._lanes:
                lane.stop()
        self._threads.shutdown(wait, cancel_futures=cancel_futures)
        for lane in self._lanes:
            lane.close()

    def _call(self, fn: Callable[..., T], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> T:
        lane = self._free.get()
        try:
            return lane.call(fn, args, kwargs)
        finally:
            self._free.put(lane)


class _Lane:
    """One worker process at a time, and the cores and the GPU that it computes on."""

    def __init__(self, number: int, lanes: int) -> None:
        self._number, self._lanes = number, lanes
        self._pool: ProcessPoolExecutor | None = None
        self._process: int | None = None
        self._stopped = False

    def call(self, fn: Callable[..., T], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> T:
        """Call a function in the process, which is started where there is none."""
        try:
            if self._pool is None:
                spawn = multiprocessing.get_context("spawn")
                self._pool = ProcessPoolExecutor(
                    1, mp_context=spawn, initializer=_begin, initargs=(self._number, self._lanes)
                )
                self._process = self._pool.submit(os.getpid).result()
            if self._stopped:
                raise concurrent.futures.CancelledError
            return self._pool.submit(fn, *args, **kwargs).result()
        except BrokenProcessPool:
            self.close()
            raise

    def stop(self) -> None:
        """End the process at once, and start no other."""
        self._stopped = True
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(self._process, signal.SIGTERM)

    def close(self) -> None:
        """Let the process end."""
        pool, self._pool, self._process = self._pool, None, None
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)


def _begin(number: int, lanes: int) -> None:
    """Prepare a worker process: its cores, its GPU, and that it ends with its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    cores = cores_of(number, lanes)
    if sys.platform == "linux":
        os.sched_setaffinity(0, cores)
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES")

    import torch

    torch.set_num_threads(len(cores))
    visible = gpus.split(",") if gpus else [str(index) for index in range(torch.cuda.device_count())]
    if len(visible) > 1:
        os.environ["CUDA_VISIBLE_DEVICES"] = visible[number % len(visible)]


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def cores_of(number: int, lanes: int) -> list[int]:
    """The cores of one of several workers: distinct ones, as far as there are enough."""
    there_are = sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else list(range(os.cpu_count() or 1))
    share = max(1, len(there_are) // lanes)
    first = number * share % len(there_are)
    return there_are[first : first + share]


class RayExecutor(Executor):
    """Calls as tasks of a Ray cluster, or of this machine where there is none.

    Args:
        resources: what each call asks for.
        address: of the cluster; None starts one here, unless there is one.

    Raises:
        ComparisonError: Ray is not installed, or the cluster cannot be reached.
    """

    def __init__(self, resources: Resources, address: str | None = None) -> None:
        try:
            import ray
        except ImportError as error:
            raise ComparisonError("--on ray needs Ray: pip install 'curriculum-zoo[cluster]'.") from error
        self._ray = ray
        self._started = not ray.is_initialized()
        if self._started:
            try:
                ray.init(address=address, log_to_driver=False, include_dashboard=False if address is None else None)
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise ComparisonError(f"There is no Ray cluster at {address}: {error}. Correct the address.") from error
        memory = {} if resources.memory_gb is None else {"memory": resources.memory_gb * 1e9}
        # A task that is lost is made again by whoever called it, as on every other executor.
        self._options = {"num_cpus": resources.cpus, "num_gpus": resources.gpus, "max_retries": 0, **memory}
        self._tasks: dict[Future[Any], Any] = {}

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Call a function somewhere on the cluster, where it can be imported too."""
        task = self._ray.remote(fn).options(**self._options).remote(*args, **kwargs)
        future: Future[T] = task.future()
        self._tasks[future] = task
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Leave the cluster; with `cancel_futures` its tasks are stopped."""
        if cancel_futures:
            for future, task in self._tasks.items():
                if not future.done():
                    self._ray.cancel(task, force=True)
        elif wait:
            concurrent.futures.wait(self._tasks)
        if self._started:
            self._ray.shutdown()


class SlurmExecutor(Executor):
    """submitit's jobs as futures; one job a call.

    Args:
        jobs: an executor of submitit's.
        seconds: how often it is asked which jobs have ended.
    """

    def __init__(self, jobs: Any, seconds: float = 5.0) -> None:
        self._jobs = jobs
        self._seconds = seconds
        self._running: dict[Future[Any], Any] = {}
        self._ended = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="jobs", daemon=True)
        self._watcher.start()

    @classmethod
    def on_cluster(cls, folder: Path, resources: Resources, parameters: Mapping[str, Any]) -> SlurmExecutor:
        """Jobs of the Slurm cluster that this machine belongs to.

        Args:
            folder: where submitit keeps scripts and logs.
            resources: what each job asks for.
            parameters: further ones, as submitit's ``update_parameters`` takes them.

        Raises:
            ComparisonError: submitit is not installed, there is no Slurm here, or it knows no such parameter.
        """
        try:
            import submitit
        except ImportError as error:
            raise ComparisonError("--on slurm needs submitit: pip install 'curriculum-zoo[cluster]'.") from error
        try:
            jobs = submitit.AutoExecutor(folder, cluster="slurm")
            asked = {
                "cpus_per_task": resources.cpus,
                "gpus_per_node": int(resources.gpus),
                "mem_gb": resources.memory_gb,
            }
            stated = {name: value for name, value in asked.items() if value}
            jobs.update_parameters(**{"name": "curriculum-zoo", **stated, **parameters})
        except (RuntimeError, NameError, TypeError, AssertionError) as error:
            raise ComparisonError(
                f"--on slurm: {error}. Run it on a machine of the cluster, or --on local:N."
            ) from error
        return cls(jobs)

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Submit a call as a job."""
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()
        self._running[future] = self._jobs.submit(fn, *args, **kwargs)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Stop asking; with `cancel_futures` jobs are cancelled."""
        if cancel_futures:
            for job in list(self._running.values()):
                job.cancel()
        elif wait:
            concurrent.futures.wait(list(self._running))
        self._ended.set()
        self._watcher.join()

    def _watch(self) -> None:
        while not self._ended.wait(self._seconds):
            for future, job in list(self._running.items()):
                if job.done():
                    del self._running[future]
                    try:
                        future.set_result(job.result())
                    except Exception as error:  # submitit's own, where a job was lost
                        future.set_exception(error)
