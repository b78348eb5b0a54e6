"""Whatever ``runpp`` reads is obeyed, refused by name, or without effect on both sides."""

from __future__ import annotations

import copy
import importlib.util
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPT = REPOSITORY / "bench" / "pandapower_columns.py"
_spec = importlib.util.spec_from_file_location("pandapower_columns", SCRIPT)
walk = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = walk
_spec.loader.exec_module(walk)

FAST = ("ext_grid", "load", "sgen", "switch")
AGREE = {"obeyed", "refused", "without effect", "runpp refuses"}


@pytest.fixture(scope="module")
def before():
    net = walk.every_element()
    solved = walk.solution(copy.deepcopy(net))
    assert solved is not None
    assert abs(walk.ours(net) - solved).max() < walk.SAME_PU
    return net, solved


@pytest.fixture(scope="module")
def read():
    return walk.columns_read()


def check_table(table, before, read):
    net, solved = before
    names = sorted({*net[table].columns, *(column for other, column in read if other == table)})
    found = [walk.verdict(table, column, walk.change(net, table, column), solved) for column in names]
    assert not [finding for finding in found if finding.verdict not in AGREE]
    assert [finding for finding in found if finding.verdict == "obeyed"]


@pytest.mark.parametrize("table", FAST)
def test_columns_are_obeyed_or_refused(table, before, read):
    check_table(table, before, read)


@pytest.mark.slow
@pytest.mark.parametrize("table", sorted(set(walk.TABLES) - set(FAST)))
def test_columns_of_all_tables_are_obeyed_or_refused(table, before, read):
    check_table(table, before, read)


@pytest.mark.slow
@pytest.mark.parametrize("name", walk.OPTIONS)
def test_options_are_obeyed_or_refused(name, before):
    net, solved = before
    changed = copy.deepcopy(net)
    changed.user_pf_options[name] = walk.OPTIONS[name]
    finding = walk.verdict("user_pf_options", name, changed, solved)
    assert finding.verdict in AGREE, finding
    if finding.verdict == "refused":
        assert f"option {name} = " in finding.note


@pytest.mark.parametrize(("p_mw", "most_mw"), [(3.0, 2.0), (-3.0, 2.0), (3.0, float("nan")), (0.05, 2.0)])
def test_a_dc_line_keeps_to_its_limit_as_that_of_runpp_does(before, p_mw, most_mw):
    net, solved = before
    changed = copy.deepcopy(net)
    changed.dcline["p_mw"], changed.dcline["max_p_mw"] = p_mw, most_mw
    assert walk.verdict("dcline", "p_mw", changed, solved).verdict in ("obeyed", "without effect")


def test_the_walk_sees_what_runpp_reads(read):
    assert {("load", "const_i_p_percent"), ("trafo", "tap_step_percent"), ("gen", "max_q_mvar"), ("bus", "vn_kv"),
            ("line", "temperature_degree_celsius"), ("sgen", "max_p_mw"), ("switch", "z_ohm")} <= read  # fmt: skip
    assert ("line", "std_type") not in read


def test_every_option_of_runpp_is_among_those_that_are_tried():
    import inspect

    import pandapower as pp

    from powergrid.networks.pandapower_options import ONLY_DEFAULT, SOLVER_OPTIONS, Options

    own = set(inspect.signature(pp.runpp).parameters) - {"net", "kwargs"}
    assert own <= set(walk.OPTIONS)
    assert {*ONLY_DEFAULT, *SOLVER_OPTIONS, *Options._fields} <= set(walk.OPTIONS)


def test_the_page_lists_every_column_and_option_with_its_verdict(read):
    page = (REPOSITORY / "docs/reference/pandapower.md").read_text(encoding="utf-8")
    listed = {
        tuple(cell.strip() for cell in line.split("|")[1:3]) for line in page.splitlines() if line.count("|") == 4
    }
    named = {(table, name.strip(" `")) for table, names in listed for name in names.split(",")}
    missing = {*read, *(("user_pf_options", name) for name in walk.OPTIONS if name != "no_such_option")} - named
    assert not missing
