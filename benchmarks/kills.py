"""Killed at any moment and started again: is the result that of a run left alone?

    python benchmarks/kills.py                    # 50 kills on one thread and 50 on two
    python benchmarks/kills.py --kills 10 --save  # renews data/results/demo/kills.csv

`culturespa run` works on a small part of the demo world: two cultures, one topic, questions
written, one adapter trained. It is killed (SIGKILL) at a random moment of a step drawn at random
among the next few, and the same command is given again, several times over, until the run is
complete; then a new folder is begun. Every table, every part of the answers and the adapter must be
those of a run that nobody disturbed, byte for byte. Each start is forked from a process that has
loaded the libraries, so that kills hit work and not imports. Moments are drawn with a seed;
everything is synthetic.
"""

import argparse
import hashlib
import multiprocessing
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault('TOKENIZERS_PARALLELISM', 'false')

import numpy as np
import pandas as pd
import psutil
import torch

from culturespa.cli import main as culturespa
from culturespa.pipeline import STEPS
from culturespa.run_folder import read_record
from culturespa.survey import data_path

SETTING = [
    *('--preset', 'demo', '--cultures', 'USA,ZWE', '--topics', 'Food', '--per-topic', '24'),
    *('--strategies', 'crqpc', '--tuning', 'batch=4', '--tuning', 'micro_batch=4', '--quiet'),
]
COMPARED = ['*.csv', '*.parquet', '*.safetensors']  # the rest holds dates or pictures
ORDER = ['begin', *STEPS, 'end']
AHEAD = 3  # steps to come that are drawn from: early ones must be hit too
MOST = 8  # kills of one run: then it may end, and the next one begins
FORK = multiprocessing.get_context('fork')


def work(out, threads):
    "What the command does, in a process of its own, its words in a file"
    torch.set_num_threads(threads)
    words = os.open(out.with_suffix('.log'), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(words, 1)
    os.dup2(words, 2)
    os._exit(culturespa(['run', '--out', str(out), *SETTING]))


def used(pid):
    "Processor seconds of a process; all there are if it has ended"
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.NoSuchProcess:
        return np.inf
    return times.user + times.system


def start(out, threads, at=None, allowed=np.inf):
    """Start the command, and kill it after so many processor seconds of the step `at`

    Its exit code, and step -> processor seconds used in it.
    """
    child = FORK.Process(target=work, args=(out, threads))
    child.start()
    spent = dict.fromkeys(ORDER, 0.0)
    before = 0.0
    while child.is_alive():
        now = used(child.pid)
        step = under_way(out)
        if np.isfinite(now):
            spent[step] += now - before
            before = now
        is_late = at is not None and ORDER.index(step) > ORDER.index(at)
        if is_late or (step == at and spent[at] >= allowed):
            child.kill()
            break
        time.sleep(0.005)
    child.join()
    return child.exitcode, spent


def hashes(out):
    "File -> hash, of all that must be the same"
    files = sorted(file for pattern in COMPARED for file in out.rglob(pattern))
    inside = {str(file.relative_to(out)): file.read_bytes() for file in files}
    return {name: hashlib.sha256(content).hexdigest() for name, content in inside.items()}


def under_way(out):
    "The step that was interrupted"
    if not (out / 'record.json').exists():
        return 'begin'
    done = read_record(out).get('steps', {})
    left = [step for step in STEPS if step not in done]
    return left[0] if left else 'end'


def differing(out, whole):
    "Files that are not those of the undisturbed run"
    own = hashes(out)
    return sorted(name for name in own | whole if own.get(name) != whole.get(name))


def disturbed(folder, threads, kills, rng):
    "Rows of the table: one for each kill"
    undisturbed = folder / f'whole{threads}'
    code, spent = start(undisturbed, threads)
    assert code == 0, undisturbed.with_suffix('.log').read_text()
    whole = hashes(undisturbed)
    shares = ', '.join(f'{step} {seconds:.1f}' for step, seconds in spent.items())
    print(f'{threads} threads, seconds: {shares}; {len(whole)} files to compare', flush=True)
    rows, run = [], 0
    while len(rows) < kills:
        run += 1
        out = folder / f'run{threads}-{run}'
        most = min(kills - len(rows), int(rng.integers(1, MOST + 1)))
        killed = one_run(out, threads, most, spent, rng)
        other = differing(out, whole)
        rows += [row | dict(same=not other) for row in killed]
        print(f'run {run}: {len(killed)} kills, {other or "the same"}', flush=True)
    return rows


def one_run(out, threads, most, spent, rng):
    "Kill a run `most` times, unless it ends before that, and let it end"
    rows = []
    while True:
        at = moment = None
        if len(rows) < most:
            to_come = [step for step in ORDER[ORDER.index(under_way(out)) :] if spent[step]]
            at = str(rng.choice(to_come[:AHEAD]))
            moment = rng.uniform(0, spent[at])
        code, used_in = start(out, threads, at, np.inf if moment is None else moment)
        if code == 0:
            return rows
        assert code == -9, out.with_suffix('.log').read_text()
        during = under_way(out)
        rows.append(
            dict(threads=threads, run=out.name, during=during, after=round(used_in[during], 2))
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--kills', type=int, default=50, help='on each number of threads')
    parser.add_argument('--threads', type=int, nargs='+', default=[1, 2])
    parser.add_argument('--seed', type=int, default=42)
    parser.add_argument('--save', action='store_true')
    given = parser.parse_args()
    rng = np.random.default_rng(given.seed)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for threads in given.threads:
            rows += disturbed(Path(folder), threads, given.kills, rng)
    table = pd.DataFrame(rows)
    print(table.to_string())
    counts = table.groupby(['threads', 'during']).same.agg(kills='size', same='sum')
    print(counts.reset_index().to_string(index=False))
    if given.save:
        counts.reset_index().to_csv(data_path('results', 'demo', 'kills.csv'), index=False)


if __name__ == '__main__':
    main()
