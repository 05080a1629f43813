"""How long the intervals take: 10,000 draws for 18 cultures x 259 questions x 10 methods, on one thread.

    python benchmarks/alignment.py [--rounds 5] [--json]

Answers are random codes; the survey is random too. Beside the vectorised draws stands a plain loop over draws,
timed on 20 of them and scaled.
"""
import argparse
import json
import os
import statistics
import time

for name in ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS'): os.environ.setdefault(name, '1')

import numpy as np
import pandas as pd

from culturespa.alignment import score_sheets, sheets
from culturespa.inference import compare, intervals, place, resample
from culturespa.survey import Survey, load_cultures

CULTURES, QUESTIONS, METHODS, DRAWS = 18, 259, 10, 10_000


def made(seed=0):
    "A random survey of the size of the World Values Survey, and answer sheets of ten models"
    rng, cultures = np.random.default_rng(seed), load_cultures()
    n = rng.choice([2, 3, 4, 5, 10], QUESTIONS, p=[.14, .17, .41, .09, .19])
    questions = pd.DataFrame(dict(question_id=[f'q{i}' for i in range(QUESTIONS)], language='en', topic=np.arange(QUESTIONS) // 20,
                                  question='?', options=None, n_options=n, first_code=1, scale='ordinal'))
    shares = [(c, q, code + 1, s, 1500) for c in cultures.culture for q, k in zip(questions.question_id, n)
              for code, s in enumerate(rng.dirichlet(np.ones(k)))]
    survey = Survey('made', questions, pd.DataFrame(shares, columns=['culture', 'question_id', 'code', 'share', 'n']), cultures, True)
    rows = [(f'm{m}', 'P1', c, q, int(rng.integers(1, k + 1))) for m in range(METHODS) for c in cultures.culture
            for q, k in zip(questions.question_id, n)]
    answers = pd.DataFrame(rows, columns=['model', 'method', 'culture', 'question_id', 'code']).astype({'code': 'Int64'})
    return survey, sheets(survey, answers)


def timed(what, rounds):
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter(); what(); seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--json', action='store_true')
    options = parser.parse_args()
    survey, personas = made()
    few = resample(survey, 20)
    def loop():
        for w in few: score_sheets(survey, personas, weights=w[None])
    rows = {
        'draws of batteries and all scores': timed(lambda: score_sheets(survey, personas, weights=resample(survey, DRAWS)), options.rounds),
        'the same, one draw at a time (scaled from 20)': timed(loop, options.rounds) * DRAWS / 20,
        'intervals: batteries, questions, cultures, continents': timed(lambda: intervals(survey, personas, draws=DRAWS), options.rounds),
        'place on the ruler, all drawn together': timed(lambda: place(survey, personas, draws=DRAWS), options.rounds),
        'compare two of them, with Holm and max-t': timed(lambda: compare(survey, personas, ('m0', 'P1'), ('m1', 'P1'), draws=DRAWS), options.rounds)}
    if options.json: print(json.dumps({k: round(v, 3) for k, v in rows.items()}))
    else:
        print(f'{DRAWS:,} draws, {CULTURES} cultures x {QUESTIONS} questions x {METHODS} methods, one thread, median of {options.rounds}')
        for name, seconds in rows.items(): print(f'{name:56} {seconds:8.2f} s')


if __name__ == '__main__': main()
