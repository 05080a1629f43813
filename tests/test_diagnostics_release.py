"""Golden numbers of the diagnostics, from the authors' LLaMA-3-8B-Instruct answers.

Needs the authors' files, in a folder named by CULTURESPA_RELEASE or in ../shared/release."""

import pandas as pd
import pytest

from culturespa.sheets import answer_sheets
from culturespa.diagnostics import movement, specificity
from culturespa.diversity import diversity
from culturespa.own_label import own_or_any
from culturespa.release import find_release, load_llama3
from culturespa.robustness import by_format, variance_components

RELEASE = find_release()
pytestmark = [
    pytest.mark.release,
    pytest.mark.skipif(RELEASE is None, reason="the authors' files are not here"),
]


@pytest.fixture(scope="module")
def release():
    survey, answers = load_llama3(RELEASE)
    answers = answers[answers.method.isin(["unaware", "P1"])]
    return survey, answers, answer_sheets(survey, answers)


@pytest.fixture(scope="module")
def gains(release):
    survey, _, personas = release
    return own_or_any(survey, personas).set_index("culture")


def test_half_of_the_gain_comes_with_any_label(gains):
    row = gains.loc["average"]
    assert row[["gain", "any_label", "own_label"]].round(2).tolist() == [4.22, 2.41, 1.81]
    assert row.any_low < 0 < row.own_low
    assert row.p < 0.001


def test_the_extra_gain_of_africa_is_mostly_any_label(gains):
    africa, elsewhere = gains.loc["Africa"], gains.loc[["America", "Europe", "Asia", "Oceania"]]
    assert round(africa.extra, 1) == 4.9 and africa.extra_low > 0
    assert (elsewhere.extra < africa.extra_low).all()
    assert africa.any_label > africa.own_label > 0


def test_specificity_and_what_is_chance(release):
    survey, _, personas = release
    row = specificity(survey, personas).set_index("method").loc["P1"]
    assert (
        round(row.specificity, 2) == 2.22 and row.specificity_low > 0 and row.specificity_p < 0.001
    )
    assert round(18 * row.identified) == 3 and round(row.identified_p, 3) == 0.057
    assert round(18 * row.own_is_best) == 1 and row.own_is_best_p > 0.5
    assert [round(row.us_pull, 1), round(row.us_pull_floor, 1)] == [5.1, 6.2]


def test_answers_move_nearer_the_own_country(release):
    survey, _, personas = release
    row = movement(survey, personas).iloc[0]
    assert round(row.nearer_difference, 1) == 6.1
    assert row.nearer_low > 0


def test_one_run_says_nothing_of_chance(release):
    survey, answers, personas = release
    row = diversity(survey, personas).set_index("method").loc["P1"]
    assert pd.isna(row.net) and "chance" in row.diversity_note
    table = variance_components(survey, answers).set_index(["method", "component"])
    assert table.note["P1", "culture x item"] == "one repeat only"
    assert table.variance["P1", "culture x item + repeat"] > table.variance["P1", "culture"]


def test_two_personas_are_compared_with_all_countries(release):
    survey, _, personas = release
    culture = personas.index.get_level_values("culture")
    two = personas[culture.isin(["KEN", "CHN"])]
    row = specificity(survey, two).set_index("method").loc["P1"]
    assert (row.personas, row.countries) == (2, 18)
    assert by_format(survey, release[1]).set_index("method").cultures["P1"] == 18
