"""Answers nobody would wish for: a clear line, or a missing value that says why."""

import json
import re
import warnings

import numpy as np
import pandas as pd
import pytest

from culturespa.alignment import align
from culturespa.sheets import answer_sheets
from culturespa.comparison import compare
from culturespa.cultures import correlate
from culturespa.maps import culture_map
from culturespa.report_page import write_alignment
from culturespa.survey import InputError, select
from culturespa.survey_files import load_survey

CULTURES = ["USA", "GBR", "BRA", "THA", "KEN"]


@pytest.fixture(scope="module")
def survey():
    demo = load_survey("demo")
    return select(demo, CULTURES, question_ids=list(demo.questions.question_id[::4]))


def answers_of(survey, method="P1", model="base", repeat=0, seed=0, cultures=None, code=None):
    "Random answers, or always `code`"
    rng, rows = np.random.default_rng(seed), []
    for c in ["none"] if method == "unaware" else cultures or survey.cultures.culture:
        for q in survey.questions.itertuples():
            answer = (
                code
                if code is not None
                else int(rng.integers(q.first_code, q.first_code + q.n_options))
            )
            rows.append(
                (
                    *("survey", model, method, c, q.question_id, "original"),
                    *(repeat, "", answer, None, None),
                )
            )
    columns = (
        "source model method culture question_id order repeat text code probability outside".split()
    )
    return pd.DataFrame(rows, columns=columns).astype({"code": "Int64"})


def report(survey, answers, folder):
    "Write a report; no warning, no NaN where a person or a program would read it"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        facts = write_alignment(survey, answers, folder, draws=200)
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"\bnan\b|\bNone\b|<NA>|\binf\b", re.sub(r'src="data:[^"]*"', "", page))
    assert (
        "NaN" not in (folder / "summary.json").read_text()
        and "Infinity" not in (folder / "summary.json").read_text()
    )
    assert json.loads((folder / "summary.json").read_text()) == json.loads(json.dumps(facts))
    return facts, page


def test_ordinary_answers(survey, tmp_path):
    both = pd.concat(
        [
            answers_of(survey, "unaware", seed=1),
            *(answers_of(survey, repeat=r, seed=2 + r) for r in (0, 1)),
            answers_of(survey, "P3", seed=5),
        ]
    )
    facts, page = report(survey, both, tmp_path)
    made = {p.name for p in tmp_path.iterdir()}
    assert made == {
        "scores.csv",
        "differences.csv",
        "by_topic.csv",
        "baselines.csv",
        "own_label.csv",
        "components.csv",
        "formats.csv",
        "coverage.csv",
        "culture_pairs.csv",
        "summary.json",
        "report.html",
        "scores.png",
        "SHA256SUMS",
    }
    assert (
        "synthetic" in page and "P3 †" in page
    )  # P3 saw human answers, and every mention says so
    images = re.findall(r"<img [^>]*>", page)
    assert images and all(re.search(r'alt="[^"]{20,}"', i) and 'src="data:' in i for i in images)
    assert not re.search(r'(?:href|src)="(?!data:)', page) and "<script" not in page
    assert [m["repeats"] for m in facts["methods"]] == [1, 2, 1]


def test_same_input_same_report(survey, tmp_path):
    both = pd.concat([answers_of(survey, "unaware", seed=1), answers_of(survey, seed=2)])
    report(survey, both, tmp_path / "one")
    report(survey, both.sample(frac=1, random_state=0), tmp_path / "two")
    for name in ("scores.csv", "summary.json", "report.html", "culture_pairs.csv"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), (
            name
        )


def test_culture_without_human_answers(survey, tmp_path):
    strange = answers_of(survey, cultures=[*CULTURES, "MEX"])
    facts, page = report(survey, strange, tmp_path)
    scores = pd.read_csv(tmp_path / "scores.csv", keep_default_na=False).set_index("culture")
    assert (
        scores.score["MEX"] == ""
        and scores.note["MEX"] == "no human answers"
        and scores.note["average"] == "mean of 5 of 6 cultures, without MEX"
    )
    assert "no human answers" in page
    with pytest.raises(InputError, match="MEX: no human answers"):
        align(survey, answers_of(survey, cultures=["MEX"]))


def test_all_refused_culture(survey, tmp_path):
    answers = pd.concat([answers_of(survey, "unaware", seed=1), answers_of(survey, seed=2)])
    answers.loc[answers.culture == "KEN", "code"] = pd.NA
    facts, page = report(survey, answers, tmp_path)
    scores = align(survey, answers).set_index(["method", "culture"])
    assert (
        np.isnan(scores.score["P1", "KEN"]) and scores.note["P1", "KEN"] == "no reply could be read"
    )
    assert (
        scores.answered["P1", "KEN"] == 0
        and scores.unparsed["P1", "KEN"] == survey.modal["KEN"].notna().sum()
    )
    assert "no reply could be read" in page
    row = correlate(survey, answer_sheets(survey, answers), 99).set_index("method").loc["P1"]
    assert (
        row.note == "without KEN: no reply could be read"
        and row.cultures == 4
        and -1 < row.pearson < 1
    )


def test_one_culture_only(survey, tmp_path):
    facts, page = report(survey, answers_of(survey, cultures=["KEN"]), tmp_path / "answers")
    assert (
        facts["methods"][0]["pearson_note"] == "1 culture: a correlation needs at least 4"
        and facts["methods"][0]["pearson"] is None
    )
    alone = select(survey, ["KEN"])
    facts, page = report(alone, answers_of(alone), tmp_path / "survey")
    assert facts["methods"][0]["position"] is None and "no place between floor and ceiling" in page
    with pytest.raises(InputError, match="a map needs at least 3"):
        culture_map(alone.similarity)


def test_constant_answers(survey, tmp_path):
    facts, page = report(
        survey,
        pd.concat([answers_of(survey, "unaware", code=1), answers_of(survey, code=1)]),
        tmp_path,
    )
    method = facts["methods"][1]
    assert (
        method["pearson"] is None
        and method["pearson_note"] == "all pairs are equally alike: no correlation"
    )
    assert method["diversity"] == 0 and method["nearer"] is None  # nothing moved: unknown, not zero


def test_only_unaware(survey, tmp_path):
    facts, page = report(survey, answers_of(survey, "unaware"), tmp_path)
    assert facts["methods"][0]["pearson_note"] == "one sheet for all cultures: no culture matrix"


def test_one_run_asked_fewer_questions(survey):
    some, every = answers_of(survey, model="few", seed=1), answers_of(survey, model="all", seed=2)
    half = set(survey.questions.question_id[:20])
    table = compare(
        survey,
        answer_sheets(survey, pd.concat([some[some.question_id.isin(half)], every])),
        ("few", "P1"),
        ("all", "P1"),
        draws=100,
    )
    assert table.shared.max() <= 20
    assert (align(survey, some[some.question_id.isin(half)]).not_asked > 0).all()


def test_two_runs_on_different_surveys(survey):
    demo = load_survey("demo")
    other = select(demo, CULTURES, question_ids=list(demo.questions.question_id[1::4]))
    both = select(demo, CULTURES)
    apart = answer_sheets(
        both, pd.concat([answers_of(survey, model="one"), answers_of(other, model="two")])
    )
    with pytest.raises(InputError, match="no question was answered by both one, P1 and two, P1"):
        compare(both, apart, ("one", "P1"), ("two", "P1"))
    with pytest.raises(InputError, match="no answer is to a question of"):
        align(other, answers_of(survey))


def test_twice_the_same_answer(survey):
    once = answers_of(survey)
    with pytest.raises(InputError, match="answers q1 twice|twice under"):
        align(survey, pd.concat([once, once]))


def test_generated_questions_are_not_scored(survey):
    real = answers_of(survey)
    generated = real.assign(source="generated", question_id="g" + real.question_id)
    pd.testing.assert_frame_equal(align(survey, pd.concat([real, generated])), align(survey, real))
