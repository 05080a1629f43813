"""Golden numbers: the authors' LLaMA-3-8B-Instruct answers against their survey files.

Needs the authors' files, in a folder named by CULTURESPA_RELEASE or in ../shared/release beside
the checkout."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from culturespa.alignment import align
from culturespa.sheets import answer_sheets
from culturespa.baselines import baseline_answers, baseline_table, distribution_baselines
from culturespa.batteries import batteries, effective_batteries, largest_battery
from culturespa.breakdowns import by_options
from culturespa.comparison import compare, relative_position
from culturespa.diagnostics import specificity, movement
from culturespa.diversity import diversity
from culturespa.cultures import correlate
from culturespa.matrices import culture_matrix, pair_values
from culturespa.maps import map_agreement
from culturespa.report_page import write_alignment
from culturespa.survey_files import load_survey
from culturespa.release import read_answers

RELEASE = Path(
    os.environ.get("CULTURESPA_RELEASE")
    or Path(__file__).resolve().parents[2] / "shared" / "release"
)
pytestmark = [
    pytest.mark.release,
    pytest.mark.skipif(
        not (RELEASE / "result").is_dir(),
        reason="the authors' files are not here: "
        "name their folder in CULTURESPA_RELEASE (or put them into ../shared/release)",
    ),
]
UNAWARE, P1 = ("LLaMA-3", "unaware"), ("LLaMA-3", "P1")
OTHERS, CONTINENTS = (
    ("floor", "median of the other countries"),
    ("floor", "median of other continents"),
)


@pytest.fixture(scope="module")
def survey():
    return load_survey(RELEASE)


@pytest.fixture(scope="module")
def answers(survey):
    return read_answers(sorted(RELEASE.glob("result/*/*.json")), survey, model="LLaMA-3")


@pytest.fixture(scope="module")
def personas(survey, answers):
    return answer_sheets(survey, answers)


@pytest.fixture(scope="module")
def ruled(survey, personas):
    return baseline_table(survey, personas, 200).set_index("predictor")


@pytest.fixture(scope="module")
def bare(survey):
    return baseline_table(survey, None, 200).set_index("predictor")


def test_scores_of_the_paper(survey, answers):
    scores = align(survey, answers).set_index(["method", "culture"]).score
    expected = {
        ("unaware", "average"): 62.36,
        ("P1", "average"): 66.61,
        ("unaware", "USA"): 68.34,
        ("P1", "USA"): 71.12,
        ("unaware", "ZWE"): 53.13,
        ("P1", "ZWE"): 65.53,
        ("unaware", "CHN"): 62.19,
        ("P1", "CHN"): 66.54,
    }
    assert {k: round(scores[k], 2) for k in expected} == expected


def test_counts_add_up(survey, answers):
    scores = align(survey, answers)
    items = survey.modal.notna().sum()
    single = scores[scores.culture != "average"]
    assert (single.answered + single.unparsed == single.culture.map(items)).all() and (
        single.not_asked == 0
    ).all()
    assert single.unparsed[single.method == "P1"].sum() == 27


def test_floors(bare):
    exact = {
        "middle of the scale": 57.95,
        "another country": 61.88,
        "mode of the other countries": 63.56,
        "people of the other countries": 64.33,
        "median of other continents": 64.43,
        "median of the other countries": 67.66,
        "nearest other country": 75.91,
    }
    assert {k: round(bare.S[k], 2) for k in exact} == exact
    assert bare.S["random option"] == pytest.approx(46.5, abs=0.4)
    assert bare.S["one compatriot"] == pytest.approx(63.9, abs=0.4)


def test_ceilings(bare):
    assert bare.S["split half"] == pytest.approx(89.0, abs=0.4) and 0.3 < bare.sd["split half"] < 1
    assert (
        bare.S["fresh sample"] == pytest.approx(92.5, abs=0.4) and 0.4 < bare.sd["fresh sample"] < 1
    )


def test_every_question_alike(ruled):
    exact = {
        "LLaMA-3, unaware": 68.5,
        "LLaMA-3, P1": 70.9,
        "another country": 77.7,
        "median of the other countries": 82.9,
    }
    assert {k: round(ruled.balanced[k], 1) for k in exact} == exact


def test_refusals_and_nominal_questions(ruled):
    assert ruled.loc[["LLaMA-3, unaware", "LLaMA-3, P1"], "worst"].round(1).tolist() == [56.6, 64.1]
    assert round(ruled.ordered["LLaMA-3, P1"], 1) == 66.8


def test_few_questions_decide_S(survey, personas):
    table = (
        by_options(survey, personas)
        .query("culture == 'average' and method == 'P1'")
        .set_index("n_options")
    )
    assert table.questions[[10, 11]].sum() == 51 and round(table.weight[[10, 11]].sum()) == 73
    assert table.questions[4] == 106 and round(table.weight[4]) == 16
    assert table.questions[2] == 35 and round(table.weight[2], 1) == 0.6


def test_batteries(survey):
    assert batteries(survey.questions).max() + 1 == 68


def test_few_batteries_decide(survey):
    assert effective_batteries(survey) == pytest.approx(8.4, abs=0.05)
    heaviest = largest_battery(survey)
    assert heaviest["questions"] == [f"Q{i}" for i in range(176, 196)] and heaviest[
        "share"
    ] == pytest.approx(0.275, abs=0.0005)


def test_P1_minus_unaware(survey, personas):
    table = compare(survey, personas, P1, UNAWARE).set_index("culture")
    row = table.loc["average"]
    assert row.difference == pytest.approx(4.2, abs=0.05) and row.without_largest == pytest.approx(
        2.6, abs=0.05
    )
    assert row.p == pytest.approx(0.001, abs=0.0008)
    assert [row.low, row.high] == pytest.approx([1.3, 6.6], abs=0.15)
    assert [row.question_low, row.question_high] == pytest.approx([2.0, 6.4], abs=0.25)
    single = table[table.holm.notna()]
    assert (
        len(single) == 18 and (single.p <= single.holm).all() and (single.p <= single.max_t).all()
    )
    for adjusted in ("holm", "max_t"):
        assert list(single.index[single[adjusted] < 0.05]) == ["NGA", "ZWE"]
    assert (
        (single.low > 0) == ((single.p <= 0.05) & (single.difference > 0))
    ).all()  # interval and test agree
    again = compare(survey, personas, UNAWARE, P1, seed=1).set_index("culture")
    assert list(again.index[again.holm < 0.05]) == ["NGA", "ZWE"]


def test_P1_minus_no_model(survey, personas):
    everything = pd.concat([personas, baseline_answers(survey, 1)])
    row = compare(survey, everything, P1, OTHERS).set_index("culture").loc["average"]
    assert [row.question_low, row.question_high] == pytest.approx([-4.5, 2.2], abs=0.35)
    assert [row.low, row.high] == pytest.approx([-7.0, 2.7], abs=0.2) and row.p > 0.5
    assert (
        compare(survey, everything, P1, CONTINENTS).set_index("culture").difference["average"] > 0
    )


def test_place_between_floor_and_ceiling(survey, personas):
    table = relative_position(survey, personas).query("culture == 'average'").set_index("method")
    table = table.loc[["unaware", "P1"]]  # a full release has more, of few cultures
    assert table.score.round(2).to_dict() == {"unaware": 62.36, "P1": 66.61}
    # the floor is that of the questions answered:
    # unaware refuses five on which the others' median is far off
    assert table.floor["unaware"] == pytest.approx(68.3, abs=0.05) and table.floor[
        "P1"
    ] == pytest.approx(67.6, abs=0.05)
    assert (
        table.position["unaware"] == pytest.approx(-24.7, abs=0.6)
        and table.position_high["unaware"] < 0
    )
    assert (
        table.position["P1"] == pytest.approx(-4.1, abs=0.6)
        and table.position_low["P1"] < 0 < table.position_high["P1"]
    )


def test_specificity(survey, personas):
    row = specificity(survey, personas).set_index("method").loc["P1"]
    assert (round(row.own, 2), round(row.others, 2), round(row.specificity, 1)) == (
        66.61,
        64.39,
        2.2,
    )
    assert round(18 * row.own_is_best) == 1 and round(18 * row.identified) == 3


def test_movement(survey, personas):
    row = movement(survey, personas).iloc[0]
    assert [
        round(row[k], 1) for k in ("moved", "nearer", "farther", "nearer_others", "farther_others")
    ] == [30.0, 57.7, 40.0, 51.6, 46.0]


def test_diversity(survey, personas):
    row = diversity(survey, personas).set_index("method").loc["P1"]
    assert (round(row.diversity, 1), round(row.humans, 1)) == (18.8, 38.1) and np.isnan(
        row.between_repeats
    )


def test_distribution_baselines(survey):
    all_ordered = replace(
        survey, questions=survey.questions.assign(scale="ordinal")
    )  # the reference counts nominal questions too
    table = distribution_baselines(all_ordered).set_index("predictor")
    expected = {
        "published mode, all weight on it": (0.474, 0.767),
        "fresh sample": (0.974, 0.990),
        "people of the other countries": (0.816, 0.885),
        "nearest other country": (0.859, 0.920),
    }
    for name, values in expected.items():
        assert table.loc[name, ["js", "emd"]].tolist() == pytest.approx(values, abs=0.0015), name


def test_culture_pairs(survey, personas):
    table = correlate(survey, personas).set_index("method")
    row = table.loc["P1"]
    assert round(row.pearson, 3) == 0.634 and row.mantel_p == pytest.approx(0.0001)
    assert (round(row.without_one_low, 2), round(row.without_one_high, 2)) == (0.60, 0.66)
    assert (
        round(row.partial_region, 2) == 0.51
    )  # given how many of the two are Western; the both-Western dummy alone leaves .58
    assert round(row.partial, 2) == 0.58
    assert table.note["unaware"] == "one sheet for all cultures: no culture matrix"
    assert pair_values(culture_matrix(survey, personas, *P1)).mean() == pytest.approx(
        81.20, abs=0.005
    )


def test_cultural_map(survey):
    row = map_agreement(survey).iloc[0]
    assert (round(row.pearson, 3), round(row.spearman, 3)) == (
        0.868,
        0.880,
    ) and row.mantel_p == pytest.approx(0.0001)


def test_report_of_the_release(survey, answers, tmp_path):
    facts = write_alignment(survey, answers, tmp_path, draws=500)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "66.6" in page and not survey.synthetic and "invented" not in page
    texts = [q for q in survey.questions.question if len(q) > 25]
    assert not any(
        q in page for q in texts
    )  # a report may be mailed: no question text of the survey in it
    score = {m["method"]: round(m["score"], 2) for m in facts["methods"]}
    assert (score["unaware"], score["P1"]) == (62.36, 66.61)
