"""Make anew the saved demo answers that pages 20 to 22 read (data/results/demo).

    python benchmarks/demo_results.py --out runs/results
    python benchmarks/demo_results.py --pack runs/study/default-1 ...   # keep the answers of runs that are there already

Runs the whole method on the demo world once per seed: unaware, P1 and P2 of the base model, the joint adapter, the RDS
and CDS controls, and with the last seed the 18 specific adapters. `run` in the saved answers numbers the seeds. Interrupted, the same
command goes on. Everything is synthetic.
"""
import argparse
import hashlib
import os
from pathlib import Path

os.environ.setdefault('TOKENIZERS_PARALLELISM', 'false')

import pandas as pd

from culturespa.alignment import align, score_table
from culturespa.cultures import save_answers
from culturespa.pipeline import Run, configure, run_pipeline, survey_answers
from culturespa.survey import data_path, load_cultures, load_survey

COMMAND = 'python benchmarks/demo_results.py --out runs/results'


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, default=Path('runs/results'), help='where the runs go')
    parser.add_argument('--save', type=Path, default=Path(__file__).resolve().parents[1]/'data'/'results'/'demo')
    parser.add_argument('--seeds', type=int, nargs='+', default=[1, 2, 3])
    parser.add_argument('--pack', type=Path, nargs='+', default=[], help='run folders to keep the answers of; nothing is run')
    options = parser.parse_args()
    survey, cultures, parts = load_survey('demo'), tuple(load_cultures().culture), []
    weights = data_path('demo', 'model', 'model.safetensors').read_bytes()
    def start_seed(seed):
        specific = cultures if seed == options.seeds[-1] else ()
        made = configure('demo', methods=('unaware', 'P1', 'P2'), specific=specific, seed=seed)
        return run_pipeline(options.out/f'seed-{seed}', made, device='cpu')
    todo = [lambda folder=folder: Run(folder, quiet=True) for folder in options.pack] or [
        lambda seed=seed: start_seed(seed) for seed in options.seeds]
    seeds = []
    for number, start in enumerate(todo):
        run = start()
        seeds.append(run.configuration.seed)
        parts.append(survey_answers(run).assign(run=number))
        answers = pd.concat(parts, ignore_index=True).query("model != 'base+shuffled'")
        save_answers(survey, answers, options.save, command=COMMAND, seeds=seeds, model='demo',
                     model_digest=hashlib.sha256(weights).hexdigest()[:12], templates=run.prompter.templates.hash,
                     note='run numbers the seeds; each seed is a whole run of the method')
        print(score_table(align(survey, answers)).round(1).to_string())


if __name__ == '__main__': main()
