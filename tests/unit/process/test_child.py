"""An invalid answer of a child process is an error of ours, and kills the child."""

import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from prep.errors import ChildCrashed, ChildKilled, DiskFull, HubBusy, TimedOut
from prep.machine.memory import Memory
from prep.process.child import (
    LINE_MAX,
    PARENT,
    Child,
    Event,
    Watch,
    as_error,
    crash_error,
    killed,
    outcome_of,
    run,
    unwrap,
)
from tests.support.paths import ROOT

REPORT = "Run again, and report this."
# Answers the first order by what is written at {BODY}, in which @N stands for the order's number.
SCRIPT = """
import json, sys
order = json.loads(sys.stdin.buffer.readline())
number = str(order["order"]).encode()
out = sys.stdout.buffer
{BODY}
out.flush()
"""


def child(tmp_path: Path, body: str) -> Child:
    env = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    return Child(
        [sys.executable, "-I", "-S", "-c", SCRIPT.replace("{BODY}", body)], env, tmp_path / "log"
    )


def exchanged(tmp_path: Path, body: str) -> list[Event]:
    """All that the child answers until a line that is no event."""
    asked = child(tmp_path, body)
    lines: list[Event] = []
    with asked.exchange("loading", {}) as answer:
        while not lines or "event" in lines[-1]:
            line = answer(30)
            assert line is not None, "nothing came"
            lines.append(line)
    asked.stop()
    return lines


def refused(tmp_path: Path, body: str) -> str:
    """The message for what the child wrote; it was killed."""
    asked = child(tmp_path, f"{body}\nout.flush()\nimport time; time.sleep(600)")
    with pytest.raises(ChildCrashed) as caught, asked.exchange("loading", {}) as answer:
        answer(30)
    assert asked.process.returncode == -signal.SIGKILL
    assert not asked.idle
    return str(caught.value)


def writing(line: bytes) -> str:
    """The body that writes a line, in which @N is the number of the order."""
    return f"out.write({line!r}.replace(b'@N', number) + b'\\n')"


NO_ANSWER: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"oops",
    "half": b'{"order": @N, "result": {}',
    "not UTF-8": b'{"order": @N, "result": "\xff"}',
    "a list": b"[@N]",
    "a number": b"@N",
    "null": b"null",
    "deep": b"[" * 100_000,
    "deep below": b'{"order": @N, "result": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    "digits": b'{"order": @N, "result": ' + b"9" * 5000 + b"}",
    "no number": b'{"result": {}}',
    "a number that is a text": b'{"order": "@N", "result": {}}',
    "a number that is true": b'{"order": true, "result": {}}',
    "neither result nor error": b'{"order": @N}',
    "an error that is a text": b'{"order": @N, "error": "oops"}',
    "an error without a class": b'{"order": @N, "error": {"message": "oops"}}',
    "an error of another form": b'{"order": @N, "error": {"class": 7, "message": []}}',
    "an error whose number is a text": b'{"order": @N, "error": {"class": "OSError", '
    b'"message": "", "errno": "28", "strerror": "", "path": null}}',
    "an event that is a number": b'{"order": @N, "event": 7}',
    "an event that nobody knows": b'{"order": @N, "event": "sung"}',
    "bytes that are a text": b'{"order": @N, "event": "bytes", "total_done": "7", "done": 7, '
    b'"of": 9}',
    "bytes without done": b'{"order": @N, "event": "bytes", "total_done": 7, "of": 9}',
    "bytes that are none": b'{"order": @N, "event": "bytes", "total_done": NaN, "done": 7, '
    b'"of": 9}',
    "a line without a text": b'{"order": @N, "event": "line"}',
    "a host that is a list": b'{"order": @N, "event": "asking", "host": [], "role": "hub"}',
    "late by a text": b'{"order": @N, "late": "very"}',
    "died of nothing": b'{"order": @N, "died": null}',
    "not tried, without why": b'{"order": @N, "not-tried": null}',
}


@pytest.mark.parametrize("line", NO_ANSWER.values(), ids=NO_ANSWER.keys())
def test_what_is_no_answer_ends_the_child(tmp_path: Path, line: bytes) -> None:
    text = refused(tmp_path, writing(line))
    head = "crashed: loading: the process wrote an invalid answer: b"
    tail = f". It was stopped. {REPORT}"
    assert text.startswith(head)
    assert text.endswith(tail)
    quoted = text.removeprefix(head).removesuffix(tail)
    assert len(quoted) <= 60


def test_the_sentence_quotes_the_line_and_says_what_to_do(tmp_path: Path) -> None:
    assert refused(tmp_path, writing(b"\x1b[2Joops")) == (
        "crashed: loading: the process wrote an invalid answer: b'\\x1b[2Joops'. It was stopped. "
        "Run again, and report this."
    )


def test_an_answer_to_another_order_is_not_used(tmp_path: Path) -> None:
    text = refused(tmp_path, writing(b'{"order": @N000, "result": {}}'))
    number = text.partition(", expected order ")[2].partition(".")[0]
    assert text == (
        f"crashed: loading: the process answered order {number}000, expected order {number}. It "
        "was stopped and its answer was not used. Run again, and report this."
    )


def test_a_line_without_end_is_bounded(tmp_path: Path) -> None:
    body = "while True: out.write(b'a' * 1_000_000)"
    began = time.process_time()
    assert refused(tmp_path, body) == (
        "crashed: loading: the process wrote a line of more than 67108864 bytes. It was stopped. "
        "Run again, and report this."
    )
    assert time.process_time() - began < 5, "each block was searched again"


def test_a_long_answer_is_read(tmp_path: Path) -> None:
    size = LINE_MAX // 4
    body = f'out.write(b\'{{"order": %s, "result": "%s"}}\\n\' % (number, b\'a\' * {size}))'
    [line] = exchanged(tmp_path, body)
    assert len(line["result"]) == size


@pytest.mark.timeout(60)
def test_a_long_order_and_a_long_answer_do_not_wait_for_each_other(tmp_path: Path) -> None:
    """Neither fits into a pipe: the child answers before it reads the second order."""
    body = f"""
out.write(b'{{"order": %s, "result": "%s"}}\\n' % (number, b'a' * {1 << 20}))
out.flush()
order = json.loads(sys.stdin.buffer.readline())
out.write(b'{{"order": %d, "result": %d}}\\n' % (order["order"], len(order["text"])))
"""
    asked = child(tmp_path, body)
    with asked.undisturbed("loading"):
        asked.give({})
        asked.give({"text": "b" * (1 << 20)})
        answers = [asked.answer("loading", 30) for _ in range(2)]
    asked.stop()
    assert [answer and answer["result"] for answer in answers] == ["a" * (1 << 20), 1 << 20]


def test_an_answer_that_ends_without_a_new_line_is_none(tmp_path: Path) -> None:
    with pytest.raises(ChildCrashed) as caught:
        exchanged(tmp_path, 'out.write(b\'{"order": %s, "result": {}}\' % number)')
    assert str(caught.value) == "crashed: loading: the process ended with exit code 0."


def test_a_broken_models_numbers_are_passed_on(tmp_path: Path) -> None:
    [line] = exchanged(tmp_path, writing(b'{"order": @N, "result": [NaN, Infinity]}'))
    assert [math.isnan(line["result"][0]), line["result"][1]] == [True, math.inf]


def test_several_lines_in_one_piece_are_several_answers(tmp_path: Path) -> None:
    event = b'{"order": @N, "event": "line", "text": "here"}\n'
    lines = exchanged(tmp_path, writing(event * 3 + b'{"order": @N, "result": 1}'))
    assert [line.get("event", "result") for line in lines] == ["line"] * 3 + ["result"]


@pytest.mark.parametrize("result", [None, 7, "a text", [1]], ids=repr)
def test_a_result_that_is_no_table_is_invalid(result: object) -> None:
    with pytest.raises(ChildCrashed) as caught:
        unwrap({"order": 1, "result": result})
    assert str(caught.value) == (
        f"crashed: invalid result: {result!r}. Run again, and report this."
    )


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (HubBusy("later"), HubBusy, "hub unavailable: later"),
        (ValueError("oops"), ChildCrashed, "crashed: ValueError: oops"),
        (ChildCrashed("oops"), ChildCrashed, "crashed: oops"),
        (OSError(28, "No space", "/"), DiskFull, "no space left: / has "),
        (OSError(5, "I/O error"), ChildCrashed, "crashed: OSError: [Errno 5] I/O error"),
    ],
    ids=repr,
)
def test_a_childs_error_keeps_its_class_and_has_its_term_once(
    error: Exception, kind: type[Exception], text: str
) -> None:
    raised = as_error(outcome_of(error))
    assert type(raised) is kind
    assert str(raised) == text or (kind is DiskFull and str(raised).startswith(text))
    again = as_error(outcome_of(raised))
    assert (type(again), str(again)) == (kind, str(raised))


@pytest.mark.parametrize("name", ["ValueError", "", "object", "\x00", "a.b"], ids=repr)
def test_an_error_of_another_class_is_quoted(name: str) -> None:
    error = as_error({"class": name, "message": "oops"})
    assert (type(error), str(error)) == (ChildCrashed, f"crashed: {name}: oops")


@pytest.mark.parametrize(
    ("code", "how"), [(3, "exit code 3"), (-11, "signal SIGSEGV"), (-40, "signal 40")], ids=str
)
def test_every_way_of_ending_has_a_name(code: int, how: str) -> None:
    error = crash_error("loading", code, 0)
    assert str(error) == f"crashed: loading: the process ended with {how}."


def test_out_of_memory_names_limit_and_peak() -> None:
    group = Memory(free=0, limit=500, bound="the control group /job", peak=499, kills=1)
    text = (
        "out of memory: the control group /job allows 500 bytes; at most 499 were used, and 0 are "
        "free. What is finished is kept. Raise the memory limit, or prepare fewer models at once, "
        "and run again."
    )
    assert killed(group, 0) == text
    assert killed(group, 1) == f"by SIGKILL, most often {text}"
    error = crash_error("loading", -signal.SIGKILL, 10**9, "Killed")
    assert type(error) is ChildKilled
    assert str(error).startswith("killed: loading: by SIGKILL, most often out of memory: ")
    assert str(error).endswith(" Last output:\nKilled")


def test_run_refuses_a_result_of_another_form(tmp_path: Path) -> None:
    """`run` starts a module; here one that answers a list."""
    (tmp_path / "answering.py").write_text(
        SCRIPT.replace("{BODY}", writing(b'{"order": @N, "result": []}')), encoding="utf-8"
    )
    env = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path)}
    with pytest.raises(ChildCrashed) as caught:
        run("answering", {}, env, doing="x", on_event=lambda event: None, watch=Watch(30))
    assert str(caught.value) == "crashed: invalid result: []. Run again, and report this."


def test_child_whose_parent_ended_while_it_imported_does_nothing(tmp_path: Path) -> None:
    """The kernel tells of a parent's end only those who asked before; here it is long gone."""
    made = tmp_path / "made"
    script = f"from prep.process.child import die_with_parent as d; d(); open({str(made)!r}, 'w')"
    env = {**os.environ, PARENT: "1"}
    done = subprocess.run([sys.executable, "-c", script], env=env, cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    assert not made.exists()


def test_child_knows_who_started_it(tmp_path: Path) -> None:
    script = (
        "from prep.process.child import die_with_parent\n"
        """die_with_parent(); print('{"order": 0, "result": 1}')"""
    )
    env = {"HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    child = Child([sys.executable, "-c", script], env, tmp_path / "log")
    with child.exchange("starting") as answer:
        assert answer(60) == {"order": 0, "result": 1}
    child.stop()


def test_watch_raises_when_nothing_happens_or_too_slowly() -> None:
    watch = Watch(0.2)
    watch.step()
    watch.check("x")
    time.sleep(0.1)
    watch.saw(10_000)
    time.sleep(0.15)
    watch.check("x")
    time.sleep(0.15)
    watch.saw(10_010)
    with pytest.raises(TimedOut) as caught:
        watch.check("x")
    assert str(caught.value) == (
        "timed out: x: no progress for 0.2 s (less than 1024 bytes a second counts as none). "
        "Received bytes are kept; run again, or give a longer --download-timeout."
    )
