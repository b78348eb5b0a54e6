"""YAML that would grow, nest or mislead: a sentence with its line, before anything large is made."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from powergrid.config.document import MAX_DEPTH, MAX_VALUES
from powergrid.config.sources import MAX_BYTES, open_document
from powergrid.core.errors import ConfigError

BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9))


def refused(tmp_path, text):
    file = tmp_path / "case.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        open_document(file)
    return caught.value.issues


def test_aliases_count_as_what_they_stand_for(tmp_path):
    (issue,) = refused(tmp_path, BOMB + "network: ieee13\n")
    assert (issue.line, issue.message) == (6, f"more than {MAX_VALUES:,} values")
    merged = "".join(f"m{n}: &m{n} {{<<: *m{n - 1}, x{n}: *m{n - 1}}}\n" for n in range(1, 30))
    (issue,) = refused(tmp_path, "m0: &m0 {a: 1}\n" + merged)
    assert issue.line == 16


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not say what a process has held")
def test_a_bomb_is_refused_in_little_memory(tmp_path):
    file = tmp_path / "bomb.yaml"
    file.write_text(BOMB, encoding="utf-8")
    program = (
        "import powergrid.config as c, powergrid.core.errors as e\n"
        f"try: c.load_config({str(file)!r})\nexcept e.ConfigError: pass\n"
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout) * 1024 < 200e6


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ("{a: ", "}"), ("- ", "")])
def test_deep_nesting_is_refused_with_its_line(tmp_path, opening, closing):
    (issue,) = refused(tmp_path, "network: ieee13\ndeep:\n  " + opening * 400 + "1" + closing * 400 + "\n")
    assert (issue.line, issue.message) == (3, f"nested deeper than {MAX_DEPTH} levels")


def test_nesting_through_aliases_counts_too(tmp_path):
    chain = "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 100))
    (issue,) = refused(tmp_path, "a0: &a0 [x]\n" + chain)
    assert issue.message == f"nested deeper than {MAX_DEPTH} levels"
    assert issue.line == MAX_DEPTH


def test_too_many_values_and_too_large_a_file(tmp_path):
    (issue,) = refused(tmp_path, "a: [" + "1, " * (2 * MAX_VALUES + 1) + "1]")
    assert "values" in issue.message
    (issue,) = refused(tmp_path, "a: " + "x" * MAX_BYTES)
    assert f"{MAX_BYTES:,}" in issue.message


def test_mappings_of_a_program_are_bounded_too():
    circle: dict = {"network": "ieee13"}
    circle["again"] = circle
    deep: list = [1]
    for _ in range(2000):
        deep = [deep]
    for given in (circle, {"network": "ieee13", "deep": deep}):
        with pytest.raises(ConfigError, match=f"nested deeper than {MAX_DEPTH} levels"):
            open_document(given)
    with pytest.raises(ConfigError, match="more than"):
        open_document({"wide": [[1] * 1000] * 1000})


@pytest.mark.parametrize(
    ("text", "path", "line", "message"),
    [
        ("network: ieee13\n<<: 3\n", "<<", 2, "3 is no mapping, and only mappings can be merged"),
        ("x: &x {a: 1}\n<<: [*x, 4]\n", "<<", 2, "4 is no mapping, and only mappings can be merged"),
        ("x: 1\n<<: [[1]]\n", "<<", 2, "a list is no mapping, and only mappings can be merged"),
        ("{[a]: 1}", "", 1, "a key that is a list or a mapping"),
        ("x: !!binary abcd", "x", 1, "a scalar tagged tag:yaml.org,2002:binary has no place here"),
        ("x:\n  !!set {a, b}", "x", 2, "a mapping tagged tag:yaml.org,2002:set has no place here"),
        ("x: !!python/object:os.system y", "x", 1, "tagged tag:yaml.org,2002:python/object:os.system has no place"),
        ("x: !!bool z", "x", 1, "z cannot be read as a value of the kind bool"),
        ("x: !!int z", "x", 1, "z cannot be read as a value of the kind int"),
        ("y: 1\nx: " + "9" * 5000, "x", 2, "cannot be read as a value of the kind int"),
    ],
)
def test_what_yaml_allows_and_a_configuration_does_not(tmp_path, text, path, line, message):
    file = tmp_path / "case.yaml"
    file.write_text(text, encoding="utf-8")
    (issue,) = open_document(file).issues
    assert (issue.path, issue.line) == (path, line)
    assert message in issue.message
    assert issue.hint


def test_merge_keys_still_merge(tmp_path):
    file = tmp_path / "case.yaml"
    file.write_text("x: &x {a: 1, b: 2}\ny: &y {b: 3, c: 4}\nz: {<<: [*x, *y], a: 9}\n", encoding="utf-8")
    assert open_document(file).data["z"] == {"a": 9, "b": 2, "c": 4}
