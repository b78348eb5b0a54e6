"""What the README shows must work when pasted."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

import powergrid
from powergrid.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)


def test_every_block_is_run_by_a_test_below():
    assert TEXT.count("```") // 2 == sum(len(blocks(language)) for language in ("python", "yaml", "shell"))


def test_the_multi_agent_example_plays_a_whole_day(capsys):
    names: dict[str, object] = {}
    exec(compile(blocks("python")[0], "README.md", "exec"), names)
    assert all(names["truncations"].values())
    printed = capsys.readouterr().out
    assert "microgrid_3" in printed
    assert "ess_1.p [MW]" in printed


def test_the_power_flow_example_shows_every_bus(capsys):
    names: dict[str, object] = {}
    exec(compile(blocks("python")[1], "README.md", "exec"), names)
    assert bool(names["result"].converged)
    assert set(names["result"].bus["bus"]) == set(powergrid.network("ieee34").buses.name)
    assert "loading_percent" in capsys.readouterr().out


def test_the_yaml_example_is_an_environment(tmp_path):
    (text,) = blocks("yaml")
    file = tmp_path / "corner_shop.yaml"
    file.write_text(text, encoding="utf-8")
    env = powergrid.make(file)
    env.reset(seed=0)
    rewards = env.step({agent: env.action_space(agent).sample() for agent in env.agents})[1]
    assert list(rewards) == ["battery"]


@pytest.mark.parametrize("line", [line for block in blocks("shell") for line in block.splitlines()])
def test_the_commands_exist(line):
    command = shlex.split(line, comments=True)
    if command[0] == "make":
        subprocess.run(["make", "--dry-run", *command[1:]], cwd=ROOT, check=True, capture_output=True)
    elif command[0] == "powergrid":
        shown = CliRunner().invoke(app, [command[1], "--help"], env={"COLUMNS": "120"})
        assert shown.exit_code == 0
        assert all(option in shown.output for option in command[2:] if option.startswith("--"))
    else:
        assert command[:2] == ["pip", "install"]
        extra = re.fullmatch(r"\.\[(\w+)\]", command[2])
        assert f"\n{extra[1]} = [" in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#]+)\)", TEXT))
def test_links_lead_somewhere(target):
    assert (ROOT / target).is_file()
