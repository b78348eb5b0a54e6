"""Progress of compiling: one plain line in a log, a bar on a terminal, nothing for what takes a moment."""

from __future__ import annotations

import io

import pytest
import rich.console

from powergrid.core import progress


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> progress._Progress:
    return progress._Progress()


def compile_some(of: progress._Progress, functions: int) -> None:
    with of.piece("something", 10) as count:
        for _ in range(functions):
            count()


def test_a_moment_is_not_worth_a_word(fresh, monkeypatch, caplog):
    monkeypatch.setattr(progress, "MOMENT_S", float("inf"))
    compile_some(fresh, 10)
    assert caplog.text == ""
    assert [what for what, _ in fresh.done] == ["something"]


def test_a_log_gets_one_line(fresh, monkeypatch, caplog):
    monkeypatch.setattr(progress, "MOMENT_S", -1.0)
    for _ in range(3):
        compile_some(fresh, 4)
    assert caplog.text.count("powergrid warmup") == 1


@pytest.mark.parametrize("functions", [3, 10, 25])
def test_a_terminal_gets_a_bar_that_ends_full(fresh, monkeypatch, caplog, functions):
    shown = io.StringIO()
    console = rich.console.Console(file=shown, force_terminal=True, force_interactive=True, width=100)
    monkeypatch.setattr(rich.console, "Console", lambda **_: console)
    monkeypatch.setattr(progress, "MOMENT_S", -1.0)
    compile_some(fresh, functions)
    assert caplog.text == ""
    assert "compiling, once on this machine" in shown.getvalue()
    task = fresh._bar.tasks[0]
    assert (task.completed, task.total) == (10, 10)
    assert fresh._bar.live.is_started is False


def test_pieces_side_by_side_share_a_bar(fresh):
    with fresh.piece("one", 10) as one, fresh.piece("two", 30) as two:
        for _ in range(5):
            one()
            two()
        assert (fresh._counted, fresh._expected) == (10, 40)
    assert (fresh._counted, fresh._expected) == (40, 40)
