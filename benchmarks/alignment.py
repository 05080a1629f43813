"""How long the intervals take: 10,000 draws, 18 cultures x 259 questions x 10 methods, one
thread.

    python benchmarks/alignment.py [--rounds 5] [--json]

Answers are random codes; the survey is random too. Beside the vectorised draws stands a plain
loop over draws, timed on 20 of them and scaled.
"""

import argparse
import json
import os
import statistics
import time

for name in ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS'):
    os.environ.setdefault(name, '1')

import numpy as np
import pandas as pd

from culturespa.alignment import score_sheets
from culturespa.sheets import answer_sheets
from culturespa.batteries import resample
from culturespa.comparison import compare, relative_position
from culturespa.inference import intervals
from culturespa.survey import Survey, load_cultures

CULTURES, QUESTIONS, METHODS, DRAWS, FEW = 18, 259, 10, 10_000, 20


def made_survey(rng):
    "A random survey of the size of the World Values Survey"
    cultures = load_cultures()
    n_options = rng.choice([2, 3, 4, 5, 10], QUESTIONS, p=[0.14, 0.17, 0.41, 0.09, 0.19])
    questions = pd.DataFrame(
        dict(
            question_id=[f'q{i}' for i in range(QUESTIONS)],
            language='en',
            question='?',
            topic=np.arange(QUESTIONS) // 20,
            options=None,
            n_options=n_options,
            first_code=1,
            scale='ordinal',
        )
    )
    rows = []
    for culture in cultures.culture:
        for question, n in zip(questions.question_id, n_options):
            shares = rng.dirichlet(np.ones(n))
            rows += [(culture, question, code, share, 1500) for code, share in enumerate(shares, 1)]
    shares = pd.DataFrame(rows, columns=['culture', 'question_id', 'code', 'share', 'n'])
    return Survey('made', questions, shares, cultures, synthetic=True)


def made_sheets(survey, rng):
    "Random answers of ten models"
    rows = []
    for model in range(METHODS):
        for culture in survey.cultures.culture:
            codes = rng.integers(1, survey.n_options.to_numpy() + 1)
            for question, code in zip(survey.n_options.index, codes):
                rows.append((f'm{model}', 'P1', culture, question, code))
    answers = pd.DataFrame(rows, columns=['model', 'method', 'culture', 'question_id', 'code'])
    return answer_sheets(survey, answers.astype({'code': 'Int64'}))


def timed(what, rounds):
    "Median seconds"
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        what()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def main():
    as_it_is = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_it_is)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--json', action='store_true')
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    survey = made_survey(rng)
    personas = made_sheets(survey, rng)

    def at_once():
        score_sheets(survey, personas, weights=resample(survey, DRAWS))

    def one_by_one():
        for weights in resample(survey, FEW):
            score_sheets(survey, personas, weights=weights[None])

    def compare_two():
        compare(survey, personas, ('m0', 'P1'), ('m1', 'P1'), draws=DRAWS)

    jobs = {
        'draws of batteries and all scores': at_once,
        'the same, one draw at a time': one_by_one,
        'intervals: batteries, questions, cultures': lambda: intervals(
            survey, personas, draws=DRAWS
        ),
        'place between floor and ceiling': lambda: relative_position(survey, personas, draws=DRAWS),
        'compare two of them, with Holm and max-t': compare_two,
    }
    seconds = {name: timed(job, options.rounds) for name, job in jobs.items()}
    seconds['the same, one draw at a time'] *= DRAWS / FEW
    if options.json:
        print(json.dumps({name: round(value, 3) for name, value in seconds.items()}))
        return
    print(
        f'{DRAWS:,} draws, {CULTURES} cultures x {QUESTIONS} questions x {METHODS} methods, '
        f'one thread, median of {options.rounds}'
    )
    for name, value in seconds.items():
        print(f'{name:56} {value:8.2f} s')


if __name__ == '__main__':
    main()
