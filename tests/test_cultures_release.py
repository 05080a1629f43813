"""Golden numbers: culture pairs of the authors' LLaMA-3-8B-Instruct answers.

Skipped where the authors' files are not."""

import pytest

from culturespa.sheets import answer_sheets
from culturespa.cultures import correlate
from culturespa.maps import axis_correlations, joint_map, map_agreement
from culturespa.matrices import nearest_right
from culturespa.release import find_release, load_llama3

pytestmark = [
    pytest.mark.release,
    pytest.mark.skipif(
        find_release() is None,
        reason="the authors' files are not here: name their folder in CULTURESPA_RELEASE",
    ),
]


@pytest.fixture(scope="module")
def llama():
    survey, answers = load_llama3(find_release())
    return survey, answer_sheets(survey, answers)


@pytest.fixture(scope="module")
def row(llama):
    return correlate(*llama).set_index("method").loc["P1"]


def test_the_agreement_lies_between_West_and_rest(row):
    assert round(row.pearson, 3) == 0.634
    assert (round(row.within_west, 2), round(row.within_rest, 2), round(row["between"], 2)) == (
        0.12,
        0.13,
        0.72,
    )


def test_the_interval_is_made_on_fishers_z_and_by_sign_flips(row):
    assert (
        (round(row.low, 2), round(row.high, 2)) == (0.43, 0.85)
        and row.cultures == 18
        and row.note == ""
    )


def test_the_stricter_the_test_the_larger_p(row):
    assert row.mantel_p == 1 / 10_000 and row.mantel_p < row.mantel_p_strata < 0.005
    assert (
        0.05 < row.mantel_p_map < 0.1
    )  # not told from two matrices that are both smooth over the map


def test_one_axis_of_the_map_is_earned_and_one_is_not(llama):
    r = axis_correlations(joint_map(*llama)[0])
    assert r.x > 0.9 and r.y < 0.7


def test_neighbours(llama):
    found = nearest_right(*llama).iloc[0]
    assert (found.cultures, found.right, round(found.chance, 2)) == (18, 2, 1.06)
    notes = map_agreement(*llama).set_index("method").note
    assert notes["P1"] == ""  # methods of two cultures cannot be placed, and say so
    few = notes.drop("P1").dropna()
    assert all(note == "" or "map coordinates" in note for note in few)
