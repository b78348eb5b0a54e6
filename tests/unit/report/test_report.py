"""The page is whole, self-contained and says what the files say; nothing more certain than the interval."""

import dataclasses
import json
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest

from powergrid.core.errors import ConfigError, RunError
from powergrid.learn.evaluate import evaluate
from powergrid.report import markup, origins, sections, write_report
from powergrid.report.findings import day_costs, days_below_bound, gap, money_table, saving
from powergrid.report.heading import headline, title
from powergrid.report.plots import comparison
from powergrid.report.run import load_run
from powergrid.report.style import policy_colours, technology_colour
from powergrid.worlds.seeds import episode_seed

VOID = {"meta", "img"}


class Page(HTMLParser):
    """Checks that every element is closed in order; collects text, sources of pictures, links and scripts."""

    def __init__(self, html):
        super().__init__()
        self.open, self.texts, self.sources, self.alts, self.foreign = [], [], [], [], []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        if tag in ("script", "link", "iframe"):
            self.foreign.append(tag)
        given = dict(attributes)
        if tag == "img":
            self.sources.append(given["src"])
            self.alts.append(given["alt"])
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self):
        return " ".join(self.texts).replace("\N{NO-BREAK SPACE}", " ")


@pytest.fixture(scope="module")
def run(evaluated):
    return load_run(evaluated)


@pytest.fixture
def copied(evaluated, tmp_path):
    return shutil.copytree(evaluated, tmp_path / "run")


@pytest.fixture(scope="module")
def trained(evaluated, tmp_path_factory):
    """The folder as after a training, with a lower bound, and its report."""
    folder = shutil.copytree(evaluated, tmp_path_factory.mktemp("runs") / "trained")
    rows = [
        {"step": 1000 * i, "episode_money": 2000.0 - i, "episode_cost": 0.5, "time_s": 2.0 * i} for i in range(1, 30)
    ]
    rows.insert(3, {"step": 3500, "episodes": 0})
    (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)) + '\n{"step": 30')
    meta = {"algorithm": "mappo", "steps": 30_000, "seed": 0, "settings": {}, "days": [0, 7], "backend": "jax/cpu"}
    meta["versions"] = {"jax": "0.0.1"}
    (folder / "meta.json").write_text(json.dumps(meta))
    content = json.loads((folder / "evaluation.json").read_text())
    zeros = [0.0, 0.0, 0.0]
    content["policies"]["lower_bound"] = {"by_day": {"money": zeros, "violations": zeros, "violated_ticks": zeros}}
    (folder / "evaluation.json").write_text(json.dumps(content))
    return folder, Page(write_report(folder).read_text(encoding="utf-8"))


def test_page_needs_nothing_from_outside(trained):
    _, page = trained
    assert page.foreign == []
    assert len(page.sources) == 7  # comparison, learning, two days, trade, voltage, feeder
    assert all(source.startswith("data:image/svg+xml;base64,") for source in page.sources)
    assert all(page.alts)


def test_page_says_what_was_trained_and_where_numbers_come_from(trained):
    folder, page = trained
    content = json.loads((folder / "evaluation.json").read_text())
    for words in (
        "MAPPO on p2p_microgrids",
        "29,000 environment steps",
        "96 ticks of 15 minutes each, seed 3",
        content["policies"]["rule_based"]["trajectory_hash"],
        "composite of unrelated places",
        "ERCOT",
        "ieee34 with mg1, mg2, mg3 attached",
        "jax 0.0.1",
        "only 3 days",
        "95 % bootstrap interval of the mean over the days (percentile method, 2,000 resamples of the days)",
        "lower bound",
        "above the lower bound [$/day]",
        "gives the recorded money",
    ):
        assert words in page.text, words


def test_costs_on_the_page_are_those_of_the_evaluation(trained):
    folder, page = trained
    for entry in json.loads((folder / "evaluation.json").read_text())["policies"].values():
        cost = np.mean(entry["by_day"]["money"]) + np.mean(entry["by_day"]["violations"])
        assert (f"{cost:,.0f}" if cost else "0.00") in page.text


def test_the_gap_above_the_bound_is_paired_by_day(run):
    from powergrid.core.statistics import mean_interval

    bounded = dataclasses.replace(run, bound=run.main.objective - np.array([1.0, 2.0, 6.0]))
    above = gap(bounded, bounded.main)
    assert above.mean == pytest.approx(3.0)
    assert (above.low, above.high) == mean_interval(np.array([1.0, 2.0, 6.0]))[1:]
    assert f"{above.mean:.2f}" in sections.policies(bounded)[0]
    assert gap(run, run.main) is None


def test_evaluation_writes_the_report_of_a_single_policy(tmp_path):
    evaluate("ieee13_single", policy="rule_based", days=[10], out=tmp_path, report=True, show=False)
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "No other policy was evaluated" in page.text
    assert "Averaged over 1 training day," in page.text
    assert "Trade between peers" not in page.text
    assert len(page.sources) == 4  # comparison, day, voltage, feeder


def test_pictures_also_lie_beside_the_page(trained):
    folder, _ = trained
    found = {path.stem for path in (folder / "plots").iterdir()}
    days = {"dispatch_rule_based", "dispatch_random"}
    assert found == {"comparison", "learning", "trade", "voltage", "feeder"} | days
    for path in (folder / "plots").iterdir():
        assert path.read_bytes().startswith(b"\x89PNG")
        assert path.stat().st_size > 10_000


def test_the_same_run_gives_the_same_pictures(run):
    first, second = comparison.draw(run), comparison.draw(run)
    assert (first.svg, first.png) == (second.svg, second.png)


def test_no_curve_where_nothing_was_trained(run):
    assert sections.curve(run) == ("", [])
    assert title(run) == "The rule-based policy on p2p_microgrids"


def test_a_replay_that_differs_is_told(copied):
    path = copied / "trajectories" / "138.npz"
    with np.load(path) as stored:
        arrays = dict(stored)
    arrays["money"] = arrays["money"] + np.float32(0.5)
    np.savez(path, **arrays)
    text = origins.section(load_run(copied))
    assert "Warning: replaying the actions of rule based gives money that differs from the record by up to 0.5" in text
    assert "recorded actions (random) gives the recorded money" in text


def test_costs_alone_still_make_a_page(copied):
    shutil.rmtree(copied / "trajectories")
    page = Page(write_report(copied).read_text(encoding="utf-8"))
    assert len(page.sources) == 1
    assert "for which only the cost is shown: rule based, random" in page.text


def test_folders_that_hold_no_evaluation_are_refused(copied):
    (copied / "trajectories" / "random" / "24.npz").write_bytes(b"nothing")
    with pytest.raises(RunError, match=r"24\.npz: this is not a trajectory"):
        write_report(copied)
    (copied / "evaluation.json").write_text("{")
    with pytest.raises(RunError, match="not valid JSON"):
        write_report(copied)
    (copied / "evaluation.json").unlink()
    with pytest.raises(RunError, match=r"evaluation\.json is missing; evaluate the run first"):
        write_report(copied)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("evaluation.json", "[1, 2]", "not an object"),
        ("evaluation.json", '{"days": [3], "seed": 0}', r"no evaluation\.json of a run \(policies: field required"),
        ("evaluation.json", '{"days": ["3"], "seed": 0, "policies": {}}', r"days\.0: input should be a valid integer"),
        ("evaluation.json", "[" * 100_000, "not valid JSON"),
        ("evaluation.json", b"\x80\x00PK", "it is no text"),
        ("meta.json", '{"algorithm": "mappo"}', r"no meta\.json of a run \(steps: field required"),
        ("metrics.jsonl", '{"step": 1}\nnothing\n{"step": 2}\n', "line 2 of .*not valid JSON"),
        ("metrics.jsonl", '{"step": 1, "episode_money": "much"}\n', "line 1 is no row of a learning curve"),
        ("config.yaml", b"\x80\x00PK", "UTF-8"),
    ],
)
def test_files_that_are_something_else_are_refused_in_a_sentence(copied, file, content, message):
    (copied / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises((RunError, ConfigError), match=message):
        write_report(copied)
    assert not (copied / "report.html").exists()


def test_an_evaluation_of_days_and_values_that_do_not_match_is_refused(copied):
    path = copied / "evaluation.json"
    content = json.loads(path.read_text())
    content["policies"]["random"]["by_day"]["money"].pop()
    path.write_text(json.dumps(content))
    with pytest.raises(RunError, match="random has 2 values of money for 3 days"):
        load_run(copied)
    content["policies"]["random"]["by_day"]["money"].append(float("nan"))
    path.write_text(json.dumps(content))
    with pytest.raises(RunError, match="finite number"):
        load_run(copied)
    content["policies"]["random"]["by_day"]["money"][-1] = 0.0
    content["days"] = [138, 24, 100_000]
    path.write_text(json.dumps(content))
    with pytest.raises(ConfigError, match="days"):
        load_run(copied)


@pytest.mark.parametrize("fault", ["shape", "nan", "type"])
def test_trajectories_of_another_configuration_are_refused(copied, fault):
    path = copied / "trajectories" / "138.npz"
    with np.load(path) as stored:
        arrays = dict(stored)
    if fault == "nan":
        arrays["money"][3, 0, 0] = np.nan
    else:
        arrays["money"] = arrays["money"][:, :1] if fault == "shape" else arrays["money"].astype(int)
    np.savez(path, **arrays)
    with pytest.raises(RunError, match=r"138\.npz: this is no trajectory of the configuration: money"):
        load_run(copied)


def test_replayed_days_are_the_evaluated_ones(run):
    for policy, record in run.recorded:
        assert policy.replay_error < 1e-4
        money = record.money.sum((1, 2, 3))
        np.testing.assert_allclose(money, policy.money, rtol=1e-5)
        book = money_table(run, record)
        assert book.money.sum() == pytest.approx(policy.money.mean(), rel=1e-5)
        assert book.violations.sum() == pytest.approx(policy.violations.mean(), rel=1e-5, abs=1e-6)


def test_costs_of_local_policies_are_those_of_the_evaluation(run):
    costs = day_costs(run.world, "random", list(run.days), run.seed)
    np.testing.assert_allclose(costs, run.policies[1].objective, rtol=1e-5)
    assert episode_seed(run.seed, 138) != episode_seed(0, 138)


def _with_saving(run, saved):
    main = dataclasses.replace(run.main, money=np.full(len(saved), 100.0), violations=np.zeros(len(saved)))
    other = dataclasses.replace(main, name="rule_based", money=100.0 + np.array(saved))
    main = dataclasses.replace(main, name="learned")
    return dataclasses.replace(run, policies=(main, other), days=tuple(range(len(saved))))


@pytest.mark.parametrize(
    ("saved", "verdict", "words"),
    [
        (np.linspace(5.0, 15.0, 20), 1, "The learned policy is cheaper by 10 $ a day"),
        (np.linspace(-15.0, -5.0, 20), -1, "The rule-based policy is cheaper by 10 $ a day"),
        (np.linspace(-10.0, 10.5, 20), 0, "not significant"),
    ],
)
def test_a_winner_is_named_only_where_the_interval_excludes_zero(run, saved, verdict, words):
    changed = _with_saving(run, saved)
    assert saving(changed, changed.policies[1]).verdict == verdict
    assert words in headline(changed)


def test_costs_below_the_bound_are_counted(run):
    changed = dataclasses.replace(_with_saving(run, np.array([-1.0, 0.0, 1.0])), bound=np.full(3, 100.0))
    assert days_below_bound(changed) == 1


def test_the_typical_day_is_the_median(run):
    costs = run.main.objective
    assert costs[run.typical] == np.median(costs)


def test_text_is_escaped_and_units_stay_with_their_numbers():
    assert markup.escape("a < b & 5 % of 3 $ at 1.05 pu published") == (
        "a &lt; b &amp; 5&nbsp;% of 3&nbsp;$ at 1.05&nbsp;pu published"
    )
    assert [markup.dollars(x) for x in (1476.6, -0.451, -0.001, 9.996)] == ["1,477", "\N{MINUS SIGN}0.45", "0.00", "10"]
    assert markup.interval(-3.0, 12.0, sign=True).replace("\N{NO-BREAK SPACE}", " ") == "\N{MINUS SIGN}3.00 to +12"


def test_colours_are_never_shared():
    names = ["learned", "rule_based", "random", "drain", "mppt", "constant", "my_rule", "other"]
    assert len(set(policy_colours(names).values())) == len(names)
    others = ["electrolyser", "flywheel"]
    kinds = ["solar", "wind", "generator", "storage", "grid", "p2p", *others]
    assert len({technology_colour(kind, others) for kind in kinds}) == len(kinds)
