"""Turn over single bits of a part of answers: is each noticed, or without effect?

    python benchmarks/bit_flips.py --flips 3000            as parts are written
    python benchmarks/bit_flips.py --flips 3000 --plain    without the digest, as they were before

A part of 512 answers to the demo survey is written, then read again and again with another bit
turned over each time. "Refused" is one line that names the file; "changed" is what must not be.
"""

import argparse
import random
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from culturespa.answer_store import (
    part_folder, part_name, question_hashes, read_kept, write_part)
from culturespa.survey import InputError
from culturespa.survey_files import load_survey
from culturespa.toys import made_answers

ROWS = 512


def made_part(folder: Path) -> Path:
    "Answers with texts and probabilities, as a model gives them"
    questions = load_survey("demo").questions
    questions = pd.concat([questions] * 2, ignore_index=True)[:ROWS]
    questions["question_id"] = [f"q{row}" for row in range(1, ROWS + 1)]
    rng = np.random.default_rng(0)
    codes = [int(rng.integers(1, n + 1)) for n in questions.n_options]
    answers = made_answers({"KEN": codes})
    answers["question_id"] = questions.question_id
    answers["text"] = [f"{code}. {rng.integers(1000)}" for code in codes]
    answers["probability"] = [rng.dirichlet(np.ones(n)).tolist() for n in questions.n_options]
    answers["outside"] = rng.random(ROWS) / 10
    hashes = question_hashes(questions)
    file = part_folder(folder, "survey", "base", "P1", "KEN") / part_name("original", 0, hashes)
    write_part(answers.assign(model="base"), hashes, file)
    return file


def outcome(folder: Path, sound: pd.DataFrame) -> str:
    "What reading says"
    try:
        found = read_kept(folder)
    except InputError:
        return "refused"
    except Exception as error:
        return f"escaped as {type(error).__name__}"
    try:
        pd.testing.assert_frame_equal(found, sound)
    except AssertionError:
        return "changed"
    return "same answers"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--flips", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plain", action="store_true", help="without the digest")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = made_part(folder)
        if given.plain:
            table = pq.read_table(file, partitioning=None)
            pq.write_table(table, file, compression="zstd", write_statistics=["code"])
        sound, whole = read_kept(folder), file.read_bytes()
        drawn = random.Random(given.seed).choices(range(8 * len(whole)), k=given.flips)
        counts: dict[str, int] = {}
        for bit in drawn:
            content = bytearray(whole)
            content[bit // 8] ^= 1 << bit % 8
            file.write_bytes(content)
            found = outcome(folder, sound)
            counts[found] = counts.get(found, 0) + 1
    print(f"{given.flips:,} bits of a part of {len(whole):,} bytes, {ROWS} answers")
    for found, count in sorted(counts.items()):
        print(f"{count:6,}  {found}")


if __name__ == "__main__":
    main()
