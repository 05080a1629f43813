"""One thread or all: answers and training steps a second, on quiet cores and on busy ones.

    python benchmarks/threads.py            nine rounds, a quarter of an hour; needs quiet cores
    python benchmarks/threads.py --save     also writes benchmarks/threads.csv

Every way of waiting is a process of its own, since the threads' library reads its environment once.
All processes stay loaded and take turns of a few seconds: first quiet, then beside two loops that
do nothing but count. So a machine that others use slows all of them, and what is read is the ratio
to one thread within a round. Goals: 1.4 when quiet, 0.8 when loaded.
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))

CORES = str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
WAYS = {
    "one thread": {"OMP_NUM_THREADS": "1"},
    "all, as the library has it": {"OMP_NUM_THREADS": CORES},
    "all, passive": {"OMP_NUM_THREADS": CORES, "OMP_WAIT_POLICY": "PASSIVE"},
    "all, 20,000 spins": {"OMP_NUM_THREADS": CORES, "GOMP_SPINCOUNT": "20000"},
}
WORK = ("answers", "training")


class Answers:
    "The demo model asked survey questions, for the probabilities of their options"

    def __init__(self):
        from culturespa.local import LocalModel
        from culturespa.prompts import Prompter
        from culturespa.survey_files import load_survey

        survey = load_survey("demo")
        prompter = Prompter(survey, "en")
        questions = survey.questions.to_dict("records")[:60]
        self.model = LocalModel("demo", device="cpu")
        self.chats = [prompter.chat("P1", question, "ETH") for question in questions]
        self.labels = [["1", "2"]] * len(self.chats)

    def once(self) -> int:
        self.model.option_probabilities(self.chats, self.labels)
        return len(self.chats)


class Training:
    "Steps of 32 samples of 64 tokens on the demo model, all its weights"

    def __init__(self):
        import torch
        from culturespa.local import LocalModel

        self.lm = LocalModel("demo", device="cpu").lm
        self.lm.requires_grad_(True)
        self.ids = torch.randint(10, 200, (32, 64), generator=torch.manual_seed(0))

    def once(self) -> int:
        self.lm(input_ids=self.ids, labels=self.ids).loss.backward()
        self.lm.zero_grad()
        return 1


def serve(work: str):
    "A process under measurement: a line of seconds in, how often a second out"
    job = {"answers": Answers, "training": Training}[work]()
    job.once()
    print("ready", flush=True)
    for line in sys.stdin:
        begin, done = time.monotonic(), 0
        while time.monotonic() - begin < float(line):
            done += job.once()
        print(json.dumps(done / (time.monotonic() - begin)), flush=True)


def begin(work: str, settings: dict) -> subprocess.Popen:
    "A process that waits for its turn"
    names = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
    clean = {name: value for name, value in os.environ.items() if name not in names}
    command = [sys.executable, __file__, "--serve", work]
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    quiet = dict(HF_HUB_OFFLINE="1", TQDM_DISABLE="1")
    process = subprocess.Popen(command, env=clean | quiet | settings, **pipes)
    assert process.stdout.readline() == "ready\n", f"{work} did not begin"
    return process


def turn(process: subprocess.Popen, seconds: float) -> float:
    "How often a second"
    process.stdin.write(f"{seconds}\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())


def busy(n: int) -> list[subprocess.Popen]:
    "Loops that count"
    command = [sys.executable, "-c", "while True: pass"]
    return [subprocess.Popen(command) for _ in range(n)]


def measured(work: str, rounds: int, seconds: float) -> list[dict]:
    "A row a way: how often a second with one thread, and the ratios to it"
    processes = {way: begin(work, settings) for way, settings in WAYS.items()}
    rates = {(way, load): [] for way in WAYS for load in ("quiet", "loaded")}
    try:
        for _ in range(rounds):
            for load in ("quiet", "loaded"):
                loops = busy(2) if load == "loaded" else []
                for way, process in processes.items():
                    rates[way, load].append(turn(process, seconds))
                for loop in loops:
                    loop.kill()
    finally:
        for process in processes.values():
            process.kill()
    return [row_of(work, way, rates) for way in WAYS]


def row_of(work: str, way: str, rates: dict) -> dict:
    "Medians over rounds of what a way did, and of its ratio to one thread in the same round"
    row = dict(work=work, way=way)
    for load in ("quiet", "loaded"):
        own, one = rates[way, load], rates["one thread", load]
        ratios = [a / b for a, b in zip(own, one)]
        row[f"{load}_per_second"] = round(statistics.median(own), 2)
        row[f"{load}_ratio"] = round(statistics.median(ratios), 2)
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=3, help="of each turn")
    parser.add_argument("--save", action="store_true", help="write benchmarks/threads.csv")
    parser.add_argument("--serve", choices=WORK, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(given.serve)
        return
    print(f"{CORES} cores, load before: {os.getloadavg()[0]:.1f}")
    rows = []
    for work in WORK:
        rows += measured(work, given.rounds, given.seconds)
    for row in rows:
        print("  ".join(f"{value!s:>12}" if key != "way" else f"{value:28}"
                        for key, value in row.items()))
    if given.save:
        with open(HERE / "threads.csv", "w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
