"""Import a generated full-size WVS file (97,000 respondents, 600 columns) and read the same file with pandas.

    python benchmarks/import_wvs.py [--rows 97000] [--columns 600] [--repeats 2]

Each reader runs in a process of its own, in turn; peak memory is that process's largest resident size.
"""
import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

READERS = {
    'culturespa import_wvs (259 items, weights, all checks)': "from culturespa.wvs import import_wvs; import_wvs({path!r})",
    'pandas.read_csv (all columns)': "import pandas; pandas.read_csv({path!r})",
    'pandas.read_csv (the same columns)': "import pandas; from culturespa.wvs import open_microdata; "
                                          "pandas.read_csv({path!r}, usecols=['B_COUNTRY_ALPHA', 'W_WEIGHT', 'A_WAVE', 'D_INTERVIEW'] + open_microdata({path!r}).items)",
    'nothing (interpreter and imports of culturespa.wvs)': "import culturespa.wvs",
}


def write_file(path: Path, rows: int, columns: int):
    "A made file as large as the cross-national one, written country by country"
    import numpy as np
    import pyarrow as pa
    import pyarrow.csv
    from culturespa.wvs import load_countries, made_microdata
    countries, writer, rng = list(load_countries().index), None, np.random.default_rng(0)
    sizes = [rows // len(countries) + (i < rows % len(countries)) for i in range(len(countries))]
    for seed, (country, size) in enumerate(zip(countries, sizes)):
        people = made_microdata([country], n=size, seed=seed)
        filler = {f'X{i}': rng.integers(-5, 100, size) for i in range(columns - people.shape[1])}
        table = pa.table({**{c: people[c].to_numpy() for c in people}, **filler})
        writer = writer or pa.csv.CSVWriter(path, table.schema, write_options=pa.csv.WriteOptions(quoting_style='none', quoting_header='none'))
        writer.write_table(table)
    writer.close()


def measure(code: str) -> tuple[float, float]:
    "Seconds and peak MB of a fresh process that runs `code`"
    before = time.perf_counter()
    child = subprocess.run([sys.executable, '-c', f"{code}\nimport resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"],
                           check=True, capture_output=True, text=True)
    return time.perf_counter() - before, int(child.stdout.split()[-1]) / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--rows', type=int, default=97_000)
    parser.add_argument('--columns', type=int, default=600)
    parser.add_argument('--repeats', type=int, default=2)
    args = parser.parse_args()
    sys.path.insert(0, root := str(Path(__file__).parents[1]))
    os.environ['PYTHONPATH'] = root
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)/'made.csv'
        write_file(path, args.rows, args.columns)
        print(f"{args.rows:,} rows, {args.columns} columns, {path.stat().st_size / 1e6:,.0f} MB; {os.cpu_count()} cores, "
              f"Python {platform.python_version()}; best of {args.repeats} alternating runs\n")
        runs = {name: [] for name in READERS}
        for _ in range(args.repeats):
            for name, code in READERS.items(): runs[name].append(measure(code.format(path=str(path))))
        print('| reader | seconds | rows per second | peak memory, MB |\n| --- | ---: | ---: | ---: |')
        for name, found in runs.items():
            seconds, memory = min(s for s, _ in found), max(m for _, m in found)
            speed = '' if name.startswith('nothing') else f'{args.rows / seconds:,.0f}'
            print(f"| {name} | {seconds:.1f} | {speed} | {memory:,.0f} |")


if __name__ == '__main__': main()
