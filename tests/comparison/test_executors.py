"""Where cells run: processes with cores of their own, a Ray cluster that loses a node, submitit's jobs."""

import concurrent.futures
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest
import worker_calls
from same_runs import assert_same_run

from curriculum_zoo.comparison import compare
from curriculum_zoo.comparison.executors import (
    LocalWorkers,
    RayExecutor,
    Resources,
    SlurmExecutor,
    cores_of,
    executor_for,
    running_on,
)
from curriculum_zoo.errors import ComparisonError


@pytest.fixture
def workers():
    executor = LocalWorkers(2)
    yield executor
    executor.shutdown(cancel_futures=True)


@pytest.mark.parametrize(
    "place", ["local:0", "local:", "local:two", "local:-1", "cluster", "", "locals:2", "local:2:3"]
)
def test_a_place_that_does_not_exist_is_refused(place, tmp_path):
    with pytest.raises(ComparisonError, match="expected local, local:N"):
        executor_for(place, Resources(), tmp_path)


def test_local_is_this_process(tmp_path):
    assert executor_for("local", Resources(), tmp_path) is None
    with running_on("local", Resources(), tmp_path) as executor:
        assert executor is None


def test_cores_are_shared_out(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 3, 5, 7, 9}, raising=False)
    assert [cores_of(number, 2) for number in range(2)] == [[1, 3], [5, 7]]
    assert [cores_of(number, 5) for number in range(5)] == [[1], [3], [5], [7], [9]]
    assert [cores_of(number, 7) for number in range(7)] == [[1], [3], [5], [7], [9], [1], [3]]
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert cores_of(1, 3) == [2, 3]


def test_workers_are_side_by_side_and_kept(workers, tmp_path):
    first = [workers.submit(worker_calls.meet, str(tmp_path), name, "ab") for name in "ab"]
    told = [future.result(90) for future in first]
    assert len({pid for pid, *_ in told} | {os.getpid()}) == 3
    assert all(ignores_ctrl_c for *_, ignores_ctrl_c in told)
    if sys.platform == "linux" and len(os.sched_getaffinity(0)) > 1:
        assert not set(told[0][1]) & set(told[1][1])
        assert [threads for _, _, threads, _ in told] == [len(cores) for _, cores, _, _ in told]
    again = [workers.submit(worker_calls.meet, str(tmp_path), name, "cd").result for name in "cd"]
    assert {result(90)[0] for result in again} == {pid for pid, *_ in told}


@pytest.mark.slow
def test_a_worker_that_is_killed_fails_its_own_call_alone(workers, tmp_path):
    beside = workers.submit(worker_calls.meet, str(tmp_path), "a", "ab")
    with pytest.raises(BrokenProcessPool):
        workers.submit(worker_calls.die).result(90)
    assert workers.submit(worker_calls.meet, str(tmp_path), "b", "ab").result(90)[0] != beside.result(90)[0]


def test_an_error_comes_back_as_it_was(workers):
    with pytest.raises(ValueError, match="so be it"):
        workers.submit(worker_calls.fail, "so be it").result(90)


@pytest.mark.slow
def test_workers_are_stopped_at_once_where_that_is_wanted(tmp_path):
    executor = LocalWorkers(1)
    calls = [executor.submit(worker_calls.sleep, str(tmp_path), 300) for _ in range(2)]
    while not list(tmp_path.iterdir()):
        time.sleep(0.01)
    started = time.monotonic()
    executor.shutdown(cancel_futures=True)
    assert time.monotonic() - started < 60
    assert calls[1].cancelled() or calls[1].exception() is not None
    assert isinstance(calls[0].exception(), BrokenProcessPool)


ORPHANED = """
    import sys, time
    from pathlib import Path
    sys.path.insert(0, sys.argv[2])
    import worker_calls
    from curriculum_zoo.comparison.executors import LocalWorkers

    if __name__ == "__main__":
        LocalWorkers(1).submit(worker_calls.sleep, sys.argv[1], 300)
        time.sleep(300)
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="asks a process by signal 0 whether it lives")
def test_workers_end_with_their_parent_however_it_ends(tmp_path):
    (tmp_path / "parent.py").write_text(textwrap.dedent(ORPHANED))
    (tmp_path / "pids").mkdir()
    here = str(Path(__file__).parent)
    parent = subprocess.Popen([sys.executable, str(tmp_path / "parent.py"), str(tmp_path / "pids"), here])
    while not (names := list((tmp_path / "pids").iterdir())):
        assert parent.poll() is None
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    until = time.monotonic() + 60
    while _lives(int(names[0].name)):
        assert time.monotonic() < until
        time.sleep(0.05)


def _lives(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not (status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z")


# Whole comparisons, each run bit-equal to one of a comparison that ran in this process alone


@pytest.fixture
def twelve(tiny):
    """A grid of twelve cells, each long enough to be interrupted."""
    return tiny(
        curricula=("baseline", "trd(variant=regular)", "progressive_sharpening(kernels=(3,1))"), seeds=(0, 1, 2, 3)
    )


@pytest.fixture
def serial(twelve, tmp_path, fast):
    compare(twelve, tmp_path / "serial", device="cpu", shown=False)
    return tmp_path / "serial"


def assert_same_comparison(report, folder, serial, count):
    assert report.unfinished == []
    runs = [run for arm in report.arms for run in arm.runs]
    assert len(runs) == count
    for run in runs:
        assert_same_run(folder / run.record.path.name, serial / run.record.path.name)


def killed_when(begun, kill):
    """Kill once something has begun; the future tells when that was done."""

    def watch():
        until = time.monotonic() + 300
        while not begun():
            assert time.monotonic() < until
            time.sleep(0.02)
        kill()

    return concurrent.futures.ThreadPoolExecutor(1).submit(watch)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL")
def test_a_local_worker_killed_in_the_middle_changes_nothing(twelve, serial, tmp_path, workers):
    folder = tmp_path / "local"
    killed = killed_when(
        lambda: len(list(folder.glob("*/results.json"))) >= 3,
        lambda: os.kill(_pid_of_a_lane(workers), signal.SIGKILL),
    )
    report = compare(twelve, folder, executor=workers, device="cpu", shown=False, threads=1)
    killed.result(60)
    assert_same_comparison(report, folder, serial, 12)


def _pid_of_a_lane(workers):
    return next(lane._process for lane in workers._lanes if lane._process)


@pytest.mark.slow
def test_a_ray_cluster_that_loses_a_node_changes_nothing(twelve, serial, tmp_path):
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    node = cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False)
    folder = tmp_path / "ray"
    try:
        killed = killed_when(
            lambda: len(list(folder.glob("*/results.json"))) >= 3,
            lambda: cluster.remove_node(node, allow_graceful=False),
        )
        executor = RayExecutor(Resources(cpus=1))
        report = compare(twelve, folder, executor=executor, device="cpu", shown=False, threads=1)
        executor.shutdown()
        killed.result(60)
        until = time.monotonic() + 60  # the cluster notices a lost node by its missing heartbeats
        while sum(node["Alive"] for node in ray.nodes()) > 1:
            assert time.monotonic() < until
            time.sleep(0.5)
        assert_same_comparison(report, folder, serial, 12)
    finally:
        ray.shutdown()
        cluster.shutdown()


@pytest.mark.slow
def test_jobs_of_submitit_change_nothing(tiny, tmp_path, fast):
    submitit = pytest.importorskip("submitit")
    grid = tiny(seeds=(0,))
    compare(grid, tmp_path / "serial", device="cpu", shown=False)
    jobs = submitit.AutoExecutor(tmp_path / "logs", cluster="local")
    jobs.update_parameters(timeout_min=5)
    executor = SlurmExecutor(jobs, seconds=0.1)
    killed = killed_when(
        lambda: any(job._process for job in executor._running.values()),
        lambda: next(iter(executor._running.values()))._process.kill(),
    )
    report = compare(grid, tmp_path / "jobs", executor=executor, device="cpu", shown=False, threads=1)
    executor.shutdown()
    killed.result(60)
    assert_same_comparison(report, tmp_path / "jobs", tmp_path / "serial", 2)


def test_what_is_not_there_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ComparisonError, match=r"needs Ray: pip install 'curriculum-zoo\[cluster\]'"):
        executor_for("ray", Resources(), tmp_path)
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(ComparisonError, match="needs submitit"):
        executor_for("slurm", Resources(), tmp_path)


def test_slurm_is_asked_for_what_a_cell_needs(tmp_path, monkeypatch):
    submitit = pytest.importorskip("submitit")
    with pytest.raises(ComparisonError, match=r"--on slurm: .* Run it on a machine of the cluster"):
        executor_for("slurm", Resources(), tmp_path)
    asked = {}
    monkeypatch.setattr(submitit, "AutoExecutor", lambda folder, cluster: _Jobs(folder, cluster, asked))
    place = "slurm:slurm_partition=gpu,timeout_min=240"
    executor_for(place, Resources(cpus=4, gpus=1, memory_gb=16), tmp_path / "logs").shutdown()
    assert asked == {
        "folder": tmp_path / "logs",
        "cluster": "slurm",
        "name": "curriculum-zoo",
        "cpus_per_task": 4,
        "gpus_per_node": 1,
        "mem_gb": 16,
        "slurm_partition": "gpu",
        "timeout_min": 240,
    }


class _Jobs:
    def __init__(self, folder, cluster, asked):
        asked.update(folder=folder, cluster=cluster)
        self.update_parameters = asked.update


def test_jobs_become_futures():
    class Job:
        def __init__(self, result):
            self._result = result

        def done(self):
            return True

        def result(self):
            if isinstance(self._result, Exception):
                raise self._result
            return self._result

    class Jobs:
        def submit(self, fn, value):
            return Job(value)

    executor = SlurmExecutor(Jobs(), seconds=0.01)
    futures = [executor.submit(print, value) for value in (7, OSError("job gone"))]
    concurrent.futures.wait(futures, timeout=30)
    assert futures[0].result() == 7
    assert str(futures[1].exception()) == "job gone"
    executor.shutdown()


def test_options_reach_every_cell_as_plain_values(tiny, tmp_path, fast):
    class Recording(concurrent.futures.Executor):
        def submit(self, fn, /, *args, **kwargs):
            future = concurrent.futures.Future()
            future.set_result(fn(*json.loads(json.dumps(args)), **json.loads(json.dumps(kwargs))))
            return future

    report = compare(tiny(seeds=(0,)), tmp_path / "x", executor=Recording(), device="cpu", shown=False, threads=1)
    assert report.unfinished == []
