"""Import a generated full-size WVS file and read the same file with pandas.

    python benchmarks/import_wvs.py [--rows 97000] [--columns 600] [--repeats 2]

Each reader runs in a process of its own, in turn; peak memory is its largest resident size.
"""
import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

IMPORT = """
from culturespa.wvs_import import import_wvs
import_wvs({path!r})
"""
ALL_COLUMNS = """
import pandas
pandas.read_csv({path!r})
"""
SAME_COLUMNS = """
import pandas
from culturespa.wvs_files import open_microdata
facts = ['B_COUNTRY_ALPHA', 'W_WEIGHT', 'A_WAVE', 'D_INTERVIEW']
pandas.read_csv({path!r}, usecols=facts + open_microdata({path!r}).items)
"""
READERS = {
    'culturespa import_wvs (259 items, weights, all checks)': IMPORT,
    'pandas.read_csv (all columns)': ALL_COLUMNS,
    'pandas.read_csv (the same columns)': SAME_COLUMNS,
    'nothing (interpreter and imports of culturespa.wvs_import)': "import culturespa.wvs_import",
}
MEMORY = "import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"


def write_file(path: Path, rows: int, columns: int):
    "A made file as large as the cross-national one, written country by country"
    import numpy as np
    import pyarrow as pa
    import pyarrow.csv
    from culturespa.wvs import load_countries
    from culturespa.wvs_sources import made_microdata
    countries, rng = list(load_countries().index), np.random.default_rng(0)
    size, extra = divmod(rows, len(countries))
    plain = pa.csv.WriteOptions(quoting_style='none', quoting_header='none')
    writer = None
    for seed, country in enumerate(countries):
        n = size + (seed < extra)
        people = made_microdata([country], n=n, seed=seed)
        cells = {name: people[name].to_numpy() for name in people}
        for number in range(columns - people.shape[1]):
            cells[f'X{number}'] = rng.integers(-5, 100, n)
        table = pa.table(cells)
        if writer is None:
            writer = pa.csv.CSVWriter(path, table.schema, write_options=plain)
        writer.write_table(table)
    writer.close()


def measure(code: str) -> tuple[float, float]:
    "Seconds and peak MB of a fresh process that runs `code`"
    before = time.perf_counter()
    child = subprocess.run([sys.executable, '-c', f"{code}\n{MEMORY}"],
                           check=True, capture_output=True, text=True)
    seconds = time.perf_counter() - before
    return seconds, int(child.stdout.split()[-1]) / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--rows', type=int, default=97_000)
    parser.add_argument('--columns', type=int, default=600)
    parser.add_argument('--repeats', type=int, default=2)
    args = parser.parse_args()
    root = str(Path(__file__).parents[1])
    sys.path.insert(0, root)
    os.environ['PYTHONPATH'] = root
    runs = {name: [] for name in READERS}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)/'made.csv'
        write_file(path, args.rows, args.columns)
        size = path.stat().st_size / 1e6
        for _ in range(args.repeats):
            for name, code in READERS.items():
                runs[name].append(measure(code.format(path=str(path))))
    print(f"{args.rows:,} rows, {args.columns} columns, {size:,.0f} MB; {os.cpu_count()} cores, "
          f"Python {platform.python_version()}; best of {args.repeats} alternating runs\n")
    print('| reader | seconds | rows per second | peak memory, MB |')
    print('| --- | ---: | ---: | ---: |')
    for name, found in runs.items():
        seconds = min(seconds for seconds, _ in found)
        memory = max(memory for _, memory in found)
        speed = '' if name.startswith('nothing') else f'{args.rows / seconds:,.0f}'
        print(f"| {name} | {seconds:.1f} | {speed} | {memory:,.0f} |")


if __name__ == '__main__':
    main()
