"""What becomes of a job in the import server's child, as an error of ours: by real processes."""

import errno
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from prep.errors import (
    ChildCrashed,
    ChildKilled,
    DiskFull,
    HomeNotWritable,
    ModelError,
    NotTried,
    PrepError,
    TimedOut,
    TransientError,
    UnsuitableInterpreter,
)
from prep.machine.disk import disk_of
from prep.sandbox.import_server import ImportServer, Job
from prep.tasks.consumers import Case, Interpreter
from tests.support.restricted import bare_python, libraries_of

Serve = Callable[[Interpreter], ImportServer]

DOING = "tiny: loading"
JOB = '''
import ctypes, fcntl, os, signal, socket, struct, sys, threading, time
from prep.sandbox.probe.isolation import NotTried

def good(order):
    print("a library prints")
    os.write(1, b"and below Python\\n")
    return {"order": order, "scratch": os.environ["TMPDIR"]}

def sleep(order):
    time.sleep(60)

def slowly(order):
    time.sleep(0.6)
    return {"name": order["name"]}

def named(order):
    return {"name": order["name"]}

def span(order):
    began = time.monotonic()
    time.sleep(order["seconds"])
    return {"name": order["name"], "began": began, "ended": time.monotonic()}

def large(order):
    return {"large": "x" * order["size"]}

def leave(order):
    os._exit(3)

def kill(order):
    os.kill(os.getpid(), order["signal"])

def refuse(order):
    raise OSError(order["errno"], os.strerror(order["errno"]), order["path"])

def fail(order):
    raise ValueError("no such tensor")

def strange(order):
    return object()

def reach(order):
    for host in ("hub.example", "mirror.example"):
        try:
            socket.create_connection((host, 443))
        except OSError as error:
            refused = error
    raise refused

def quietly(order):
    try:
        socket.create_connection(("hub.example", 443))
    except OSError:
        return {}

def write(order):
    for path in order["paths"]:
        open(path, "w").close()
    return {}

def ask(order):
    raise NotTried("needs root")

def halfway(order):
    """Die when a part of the result is in the pipe: as by the kernel, for memory."""
    def watch():
        held = struct.pack("i", 0)
        while True:
            for name in os.listdir("/proc/self/fd"):
                try:
                    if os.readlink(f"/proc/self/fd/{name}").startswith("pipe:"):
                        held = fcntl.ioctl(int(name), 0x541B, held)  # FIONREAD
                except OSError:
                    continue
                if struct.unpack("i", held)[0]:
                    os.kill(os.getpid(), signal.SIGKILL)
    threading.Thread(target=watch, daemon=True).start()
    return {"large": "x" * (1 << 24)}
'''


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Interpreter:
    """Somebody's environment with jobs that go wrong."""
    python = bare_python(tmp_path_factory.mktemp("service") / "environment")
    (libraries_of(python) / "job.py").write_text(JOB, encoding="utf-8")
    return Interpreter(python=python, label="service")


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, service: Interpreter
) -> Iterator[ImportServer]:
    """One server for all jobs: after each that went wrong it must serve the next."""
    serving = ImportServer(tmp_path_factory.mktemp("scratch"), service)
    yield serving
    serving.stop()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Servers of a test's own, stopped when it ends."""
    serving: list[ImportServer] = []

    def make(interpreter: Interpreter) -> ImportServer:
        serving.append(ImportServer(tmp_path, interpreter))
        return serving[-1]

    yield make
    for server in serving:
        server.stop()


@pytest.fixture(autouse=True)
def serves_on(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever a job did, the next one is served by the same process."""
    yield
    if "server" in request.fixturenames:
        assert request.getfixturevalue("server").run("job:good", {}, doing="next").value


def error_of(server: ImportServer, job: str, timeout: float = 20, **args: object) -> PrepError:
    with pytest.raises(PrepError) as caught:
        server.run(f"job:{job}", args, doing=DOING, timeout=timeout)
    return caught.value


def test_result_comes_with_what_it_took_whatever_the_libraries_print(server: ImportServer) -> None:
    result = server.run("job:good", {"a": [1, "ä"]}, doing=DOING)
    assert result.value["order"] == {"a": [1, "ä"], "shown": None}
    assert not Path(result.value["scratch"]).exists()
    assert (result.network, result.writes) == ((), ())
    assert 0 <= result.seconds < 20
    assert 1 << 20 < result.peak < 1 << 30


LATE = (
    "timed out: tiny: loading: not done within 0.3 s, so it was stopped. On a busy machine, "
    "run again with fewer models at once."
)
SIGSEGV = "crashed: tiny: loading: the process ended with signal SIGSEGV."


@pytest.mark.parametrize(
    ("job", "args", "kind", "message"),
    [
        ("sleep", {"timeout": 0.3}, TimedOut, LATE),
        ("leave", {}, ChildCrashed, "crashed: tiny: loading: the process ended with exit code 3."),
        ("kill", {"signal": signal.SIGSEGV}, ChildCrashed, SIGSEGV),
        ("fail", {}, ChildCrashed, "crashed: tiny: loading failed: ValueError: no such tensor"),
    ],
    ids=["takes too long", "ends without a result", "crashes", "raises"],
)
def test_a_job_without_a_result_says_what_became_of_it(
    server: ImportServer, job: str, args: dict[str, Any], kind: type[PrepError], message: str
) -> None:
    error = error_of(server, job, **args)
    assert (type(error), str(error)) == (kind, message)
    assert issubclass(ChildCrashed, ModelError)


def test_a_killed_job_is_transient(server: ImportServer) -> None:
    error = error_of(server, "kill", signal=signal.SIGKILL)
    assert type(error) is ChildKilled
    assert isinstance(error, TransientError)
    assert "by SIGKILL, most often out of memory" in str(error)


def test_a_job_that_is_killed_while_it_answers_is_transient(
    service: Interpreter, serve: Serve
) -> None:
    serving = serve(service)
    assert type(error_of(serving, "halfway")) is ChildKilled
    assert serving.run("job:good", {}, doing="next").value


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (errno.ENOSPC, DiskFull),
        (errno.EDQUOT, DiskFull),
        (errno.EROFS, HomeNotWritable),
        (errno.EACCES, HomeNotWritable),
        (errno.EPERM, HomeNotWritable),
        (errno.EIO, ChildCrashed),
    ],
)
def test_errors_of_the_disk_keep_their_class_and_path(
    server: ImportServer, tmp_path: Path, code: int, kind: type[PrepError]
) -> None:
    path = str(tmp_path / "hub" / "weights")
    error = error_of(server, "refuse", errno=code, path=path)
    assert type(error) is kind
    assert str(error).startswith(f"{kind.term}: tiny: loading failed: ")
    assert str(error).count(kind.term) == 1
    assert (path if kind is not DiskFull else f"{disk_of(tmp_path).place} has ") in str(error)
    if code != errno.ENOSPC:  # the term says it
        assert os.strerror(code) in str(error)


def test_an_unknown_job_and_a_result_that_is_not_json_are_errors(server: ImportServer) -> None:
    assert "has no attribute 'nothing'" in str(error_of(server, "nothing"))
    assert type(error_of(server, "strange")) is ChildCrashed


def test_an_error_names_every_host_that_was_tried(server: ImportServer) -> None:
    error = error_of(server, "reach")
    first, *reached = str(error).splitlines()
    assert first.startswith("crashed: tiny: loading failed: ")
    assert "no network here, mirror.example was asked for" in first
    line = next(at for at, text in enumerate(JOB.splitlines(), 1) if "(host, 443)" in text)
    assert reached == [
        f"  it reached for {host}, asked for by job.py:{line} in reach"
        for host in ("hub.example", "mirror.example")
    ]


def test_suppressed_network_access_and_writes_elsewhere_are_recorded(
    server: ImportServer, tmp_path: Path
) -> None:
    result = server.run("job:quietly", {}, doing=DOING)
    assert [attempt["host"] for attempt in result.network] == ["hub.example"]
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    paths = [str(folder / "file") for folder in (outside, inside)]
    result = server.run("job:write", {"paths": paths}, doing=DOING, may_write=[inside])
    assert result.writes == (str(outside / "file"),)


def test_what_this_machine_cannot_try_is_not_tried(server: ImportServer, tmp_path: Path) -> None:
    case = Case(way="path", cache=None)
    with pytest.raises(NotTried) as caught:
        server.run("job:ask", {}, doing=DOING, home=tmp_path, case=case)
    assert str(caught.value) == "needs root"


def test_a_killed_server_is_started_again_for_the_next_job(
    service: Interpreter, serve: Serve
) -> None:
    serving = serve(service)
    serving.ready()
    assert serving._child is not None
    os.kill(serving._child.process.pid, signal.SIGKILL)
    assert type(error_of(serving, "good")) is ChildKilled
    assert serving.run("job:good", {}, doing="by a new process").value
    serving.stop()
    assert serving.run("job:good", {}, doing="after a new start").value


def test_a_server_that_hangs_is_stopped_so_that_its_late_answer_is_not_used(
    service: Interpreter, serve: Serve
) -> None:
    serving = serve(service)
    serving.ready()
    assert serving._child is not None
    process = serving._child.process
    os.kill(process.pid, signal.SIGSTOP)
    assert type(error_of(serving, "good", timeout=-9.5)) is TimedOut  # it is given 10 s more
    assert process.poll() == -signal.SIGKILL


class Alarm(BaseException):
    """Of no class that anybody catches, as pytest's own outcomes are."""


@contextmanager
def alarm(after: float, error: BaseException) -> Iterator[None]:
    """Raise `error` here after so many seconds, as pytest-timeout's signal method does."""

    def ring(number: int, frame: object) -> None:
        raise error

    handler = signal.signal(signal.SIGALRM, ring)
    left, _ = signal.setitimer(signal.ITIMER_REAL, after)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, left)  # the test's own


@pytest.mark.parametrize(
    "error",
    [Alarm(), KeyboardInterrupt(), SystemExit(), TimeoutError(), TimedOut("late"), EOFError()],
    ids=lambda error: type(error).__name__,
)
def test_an_interrupted_job_answers_no_later_order(
    server: ImportServer, error: BaseException
) -> None:
    """Load A is interrupted while it runs; B gets its own answer, and C, which cannot be made,
    fails."""
    server.ready()
    assert server._child is not None
    process = server._child.process
    with pytest.raises(BaseException) as caught, alarm(0.2, error):
        server.run("job:slowly", {"name": "A"}, doing="load A")
    assert caught.value is error
    assert process.poll() == -signal.SIGKILL, "it computes no further"
    assert server.run("job:slowly", {"name": "B"}, doing="load B").value == {"name": "B"}
    assert "has no attribute 'nothing'" in str(error_of(server, "nothing"))


def test_a_server_that_is_interrupted_while_it_imports_is_started_again(
    service: Interpreter, serve: Serve
) -> None:
    serving = serve(service)
    with pytest.raises(Alarm), alarm(0.01, Alarm()):
        serving.ready()
    assert serving.run("job:slowly", {"name": "B"}, doing="load B").value == {"name": "B"}


def test_interruption_at_any_moment_leaves_no_answer_behind(server: ImportServer) -> None:
    """Wherever in the exchange it comes, between any two steps: the next load gets its own."""
    interrupted = 0
    for number in range(16):
        try:
            with alarm(0.001 + number * 0.001, Alarm()):
                got = server.run("job:named", {"name": str(number)}, doing="interrupted").value
            assert got == {"name": str(number)}
        except Alarm:
            interrupted += 1
        again = server.run("job:named", {"name": f"{number} again"}, doing="not interrupted")
        assert again.value == {"name": f"{number} again"}
    assert interrupted > 3, "no moment was hit"


def test_answer_to_another_order_is_refused_and_the_next_order_has_a_new_process(
    server: ImportServer,
) -> None:
    """Were an answer ever left behind, whatever the way: the numbers tell."""
    server.ready()
    child = server._child
    assert child is not None
    order = {"call": "job:named", "args": {"name": "A"}, "sandbox": None, "may_write": []}
    child._send({**order, "timeout": 20, "order": 7})
    error = error_of(server, "named", name="B")
    assert type(error) is ChildCrashed
    assert re.fullmatch(
        r"crashed: tiny: loading: the process answered order 7, expected order \d+\. It was "
        r"stopped and its answer was not used\. Run again, and report this\.",
        str(error),
    )
    assert server.run("job:named", {"name": "C"}, doing="next").value == {"name": "C"}


def submit(server: ImportServer, job: str, timeout: float = 20, **args: object) -> Job:
    return server.submit(f"job:{job}", args, doing=f"load {args.get('name')}", timeout=timeout)


def test_jobs_run_at_once_and_each_has_its_own_answer_in_whatever_order_they_end(
    server: ImportServer,
) -> None:
    lengths = {"A": 1.6, "B": 0.8, "C": 1.2, "D": 0.4}
    jobs = [submit(server, "span", name=name, seconds=took) for name, took in lengths.items()]
    assert server.running == tuple(jobs)
    spans = [server.result(job).value for job in jobs]
    assert [span["name"] for span in spans] == [*lengths]
    assert max(span["began"] for span in spans) < min(span["ended"] for span in spans)
    assert server.running == ()


LARGE = 8 << 20  # bytes: many times what a pipe holds


@pytest.mark.parametrize(
    ("job", "args", "kind"),
    [
        ("leave", {}, ChildCrashed),
        ("kill", {"signal": signal.SIGKILL}, ChildKilled),
        ("halfway", {}, ChildKilled),
        ("sleep", {"timeout": 0.3}, TimedOut),
        ("large", {"size": LARGE}, None),
    ],
    ids=["ends", "is killed", "is killed while it answers", "is late", "writes megabytes"],
)
def test_job_disturbs_none_that_runs_beside_it(
    server: ImportServer, job: str, args: dict[str, Any], kind: type[PrepError] | None
) -> None:
    server.ready()
    assert server._child is not None
    process = server._child.process
    before, odd, after = (
        submit(server, "slowly", name="A"),
        submit(server, job, **args),
        submit(server, "slowly", name="B"),
    )
    assert server.result(before).value == {"name": "A"}
    if kind is None:
        assert server.result(odd).value == {"large": "x" * LARGE}
    else:
        with pytest.raises(kind):
            server.result(odd)
    assert server.result(after).value == {"name": "B"}
    assert process.poll() is None


def test_answer_that_came_in_time_is_not_late_because_nobody_read_it(server: ImportServer) -> None:
    """The process of the tests did something else for longer than the job may take."""
    job = submit(server, "large", size=LARGE)
    job.given -= 1000
    assert server.result(job).value == {"large": "x" * LARGE}


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Alarm()], ids=["Ctrl-C", "pytest-timeout"])
def test_interrupted_wait_ends_all_jobs_and_the_others_run_again(
    server: ImportServer, error: BaseException
) -> None:
    jobs = [submit(server, "slowly", name=name) for name in "ABC"]
    assert server._child is not None
    process = server._child.process
    with pytest.raises(type(error)), alarm(0.2, error):
        server.result(jobs[0])
    assert process.poll() == -signal.SIGKILL
    assert server.running == ()
    assert [server.result(job).value for job in jobs[1:]] == [{"name": "B"}, {"name": "C"}]


def test_job_that_must_be_alone_waits_for_the_others_whatever_becomes_of_them(
    server: ImportServer,
) -> None:
    first = submit(server, "span", name="A", seconds=0.8)
    killed = submit(server, "kill", signal=signal.SIGKILL)
    alone = {"name": "B", "seconds": 0}
    found = server.run_alone("job:span", alone, doing="converting", timeout=20)
    assert found.value["began"] >= server.result(first).value["ended"]
    with pytest.raises(ChildKilled):
        server.result(killed)


def test_more_jobs_are_begun_while_one_is_waited_for_but_not_beside_one_alone(
    service: Interpreter, serve: Serve
) -> None:
    serving, begun = serve(service), list[Job]()

    def begin() -> None:
        if len(begun) < 2:
            begun.append(submit(serving, "span", name="more", seconds=0.1))

    serving.ready()
    serving.meanwhile = begin
    serving.run_alone("job:span", {"name": "A", "seconds": 0.2}, doing="alone")
    assert begun == []
    waited = serving.run("job:span", {"name": "A", "seconds": 1.0}, doing="waiting").value
    assert len(begun) == 2
    assert serving.result(begun[0]).value["ended"] < waited["ended"]


def test_error_while_more_is_begun_ends_the_server(service: Interpreter, serve: Serve) -> None:
    """As an interruption there: half of an order may have been written."""
    serving = serve(service)
    job = submit(serving, "slowly", name="A")
    assert serving._child is not None
    process = serving._child.process

    def fail() -> None:
        raise Alarm

    serving.meanwhile = fail
    with pytest.raises(Alarm):
        serving.result(job)
    assert process.poll() == -signal.SIGKILL


PRINTS = "import sys\nprint('welcome')\nsys.stdout.flush()\n"


def script_as_python(folder: Path, script: str) -> Interpreter:
    python = folder / "python"
    python.write_text(script)
    python.chmod(0o755)
    return Interpreter(python=python, label="odd")


@pytest.mark.parametrize(
    "script",
    ["#!/bin/sh\nexit 1\n", "#!/bin/sh\necho usage: PROBE\n", "#!/bin/sh\nkill -11 $$\n", "no\n"],
    ids=["ends", "prints", "dies", "cannot be run"],
)
def test_an_interpreter_that_cannot_run_the_probe_is_unsuitable(
    tmp_path: Path, serve: Serve, script: str
) -> None:
    odd = script_as_python(tmp_path, script)
    with pytest.raises(UnsuitableInterpreter, match=f"^{odd.python} cannot run the probe: "):
        serve(odd).ready()


def test_an_interpreter_that_is_killed_while_it_imports_is_transient(
    tmp_path: Path, serve: Serve
) -> None:
    """Memory that ran out says nothing about it."""
    with pytest.raises(PrepError) as caught:
        serve(script_as_python(tmp_path, "#!/bin/sh\nkill -9 $$\n")).ready()
    assert type(caught.value) is ChildKilled


def test_an_environment_that_prints_when_it_starts_works(tmp_path: Path, serve: Serve) -> None:
    """As a ``sitecustomize.py`` or a wrapper of an environment may."""
    python = bare_python(tmp_path / "environment")
    (libraries_of(python) / "sitecustomize.py").write_text(PRINTS, encoding="utf-8")
    ready = serve(Interpreter(python=python, label="talkative")).ready()
    assert ready["python"] == ".".join(map(str, sys.version_info[:3]))
