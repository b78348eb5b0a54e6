"""Text for people on terminals that lack characters."""

import io
import os
import subprocess
import sys

import pytest

from powergrid.core.terminal import PLAIN, console


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("grün", "grun"),
        ("20 °C … \N{MINUS SIGN}3", "20 deg C ... -3"),
        ("a · b \N{EN DASH} c \N{MULTIPLICATION SIGN} d", "a - b - c x d"),
        ("━━╺", "---"),
        ("中\udcff", "??"),
    ],
)
def test_what_ascii_lacks_is_written_in_plain_letters(text, expected):
    assert text.encode("ascii", PLAIN) == expected.encode()


def test_a_console_takes_any_text(monkeypatch):
    from rich.table import Table

    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    table = Table(title="grün")
    table.add_column("a long header … that does not fit", no_wrap=True)
    table.add_row("20 °C and much more than the width allows")
    printing = console(width=20)
    printing.print(table)
    printing.print("中")
    sys.stdout.flush()
    assert b"grun" in raw.getvalue()
    assert b"..." in raw.getvalue()
    assert raw.getvalue().endswith(b"?\n")


def test_a_decoding_error_stays_one():
    with pytest.raises(UnicodeDecodeError):
        b"\xff".decode("ascii", PLAIN)


@pytest.mark.parametrize("arguments", [["show"], ["validate"], ["explain"], ["--help"], ["evaluate", "--help"]])
def test_no_command_fails_on_an_ascii_terminal(tmp_path, arguments):
    file = tmp_path / "netz.yaml"
    file.write_text(
        "name: grün\ndescription: „20 °C“ … 中\nnetwork: ieee13\n"
        "agents:\n  - {id: ölkessel_1, type: ESS, bus: 671, policy: learned}\n",
        encoding="utf-8",
    )
    given = [*arguments, *([] if "--help" in arguments else [str(file)])]
    plain = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    code = "import sys; from powergrid.cli.app import app; app(sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", code, *given], capture_output=True, text=True, env={**os.environ, **plain}, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()
    assert "Traceback" not in done.stderr
