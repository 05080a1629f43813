"""What tuning did in a run of the demo: amplified leans, where it gained, sureness, weights.

    python benchmarks/mechanism.py --run FOLDER          # a run that is finished, adapters included
    python benchmarks/mechanism.py --run FOLDER --save   # also renew data/results/demo/mechanism,
                                                         # which page 960 reads

Asks the base model the survey in two wordings and each adapter in one, with option probabilities;
then leaves out the updates of the joint adapter part by part. The run is only read. Everything is
synthetic.
"""

import argparse
import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np
import pandas as pd

from culturespa.answers import ask
from culturespa.cli import quiet_libraries
from culturespa.distributions import share_array
from culturespa.mechanism import (
    amplification,
    at_temperature,
    base_knew,
    expected_scores,
    gain_where_known,
    persona_array,
    shared_part,
    split_gain,
)
from culturespa.models import Sampling
from culturespa.prompts import Prompter
from culturespa.run_folder import Run
from culturespa.survey import data_path, select
from culturespa.updates import drop_one, update_norms

OWN = dict(mode="probabilities", sampling=Sampling(1.0, 1.0, 4), quiet=True)
DRAWN = 0.6  # the temperature of the run's answers
ADAPTERS = ("joint", "rds", "cds", "shuffled", "noise")
PART = 3  # of the questions, one in so many measures what a matrix adds


def asked(model, survey, wording="en"):
    "What a model says plainly and as a person of each culture: two arrays"
    answers = ask(model, survey.questions, Prompter(survey, wording), ["unaware", "P1"], **OWN)
    plain = persona_array(survey, answers, model.name, "unaware")
    return plain, persona_array(survey, answers, model.name)


def amplified(survey, base, other, tuned):
    "Slopes, with the plain answer and with the average persona as what is there already"
    plain, aware = base
    other_plain, other_aware = other
    mean, other_mean = shared_part(survey, aware), shared_part(survey, other_aware)
    tables = {
        ("plain", "other wording"): amplification(survey, plain, aware, tuned, other),
        ("plain", "same wording"): amplification(survey, plain, aware, tuned),
        ("personas", "other wording"): amplification(
            survey, mean, aware, tuned, (other_mean, other_aware)
        ),
        ("personas", "same wording"): amplification(survey, mean, aware, tuned),
    }
    return pd.concat(tables, names=["reference", "instrument"]).reset_index(level=[0, 1])


def knowledge(survey, base, other, tuned):
    "Gains by whether the base knew, judged in three ways; answers drawn as in the run"
    people = share_array(survey)
    truth = share_array(replace(survey, shares=survey.truth))
    judged = {
        "same wording": base_knew(survey, *base, people),
        "other wording": base_knew(survey, *other, people),
        "other wording, true shares": base_knew(survey, *other, truth),
    }
    before, after = at_temperature(base[1], DRAWN), at_temperature(tuned, DRAWN)
    tables = {name: gain_where_known(survey, before, after, knew) for name, knew in judged.items()}
    return pd.concat(tables, names=["judged_by"]).reset_index(level=0)


def sharpened(survey, aware, tuned):
    "The two parts of the gain, at two temperatures of drawing"
    tables = {}
    for drawn in (1.0, DRAWN):
        pair = at_temperature(aware, drawn), at_temperature(tuned, drawn)
        tables[drawn] = split_gain(survey, *pair)
    return pd.concat(tables, names=["drawn_at"]).reset_index(level=0)


def measures(survey):
    "What `drop_one` measures: S of answers as drawn, and log-probability of the people's answers"
    people = share_array(survey)

    def measure(model):
        answers = ask(model, survey.questions, Prompter(survey), "P1", **OWN)
        p = persona_array(survey, answers, model.name)
        score = expected_scores(survey, at_temperature(p, DRAWN)).mean()
        log_p = (people * np.log(np.maximum(p, 1e-6))).sum(axis=-1).mean()
        return dict(score=float(score), log_p=float(log_p))

    return measure


def dropped(run, adapter):
    "The joint adapter without each of its parts, on some of the questions"
    ids = run.survey.questions.question_id[::PART]
    some = select(run.survey, question_ids=list(ids))
    with tempfile.TemporaryDirectory() as folder:
        return drop_one(run.base, adapter, measures(some), Path(folder) / "copies")


def note(run, adapters):
    "Which run these tables are of"
    plans = {}
    for name in adapters:
        card = json.loads((run.out / "adapters" / name / "base.json").read_text())
        plans[name] = {key: card[key] for key in ("plan", "samples", "steps")}
    return dict(
        command="python benchmarks/mechanism.py --run FOLDER --save",
        weights=run.base.record["weights"],
        survey=run.words["survey"],
        configuration=run.configuration.model_dump(mode="json"),
        adapters=plans,
        part=PART,
        drawn_at=DRAWN,
    )


def study(run, adapters):
    "All tables by name"
    survey = run.survey
    base, other = asked(run.base, survey), asked(run.base, survey, "en-reworded")
    tables = {name: [] for name in ("amplification", "knowledge", "sharpening", "norms")}
    for name in adapters:
        _, tuned = asked(run.model(name), survey)
        found = dict(
            amplification=amplified(survey, base, other, tuned),
            knowledge=knowledge(survey, base, other, tuned),
            sharpening=sharpened(survey, base[1], tuned),
            norms=update_norms(run.base, run.out / "adapters" / name),
        )
        for table, rows in found.items():
            tables[table].append(rows.assign(adapter=name))
    joined = {name: pd.concat(rows, ignore_index=True) for name, rows in tables.items()}
    joint = run.out / "adapters" / adapters[0]
    return joined | dict(dropped=dropped(run, joint).assign(adapter=adapters[0]))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, required=True, help="a finished run, only read")
    parser.add_argument("--adapters", nargs="+", help="the first is taken apart")
    parser.add_argument("--out", type=Path, help="folder for the tables")
    parser.add_argument("--save", action="store_true", help="renew data/results/demo/mechanism")
    options = parser.parse_args()
    quiet_libraries()
    run = Run(options.run, device="cpu", quiet=True)
    there = [name for name in ADAPTERS if (run.out / "adapters" / name).is_dir()]
    adapters = options.adapters or there
    tables = study(run, adapters)
    for name, table in tables.items():
        print(f"\n{name} (synthetic)\n\n{table.round(2).to_string()}")
    folder = options.out
    if options.save:
        folder = data_path("results", "demo") / "mechanism"
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        columns = ["adapter", *table.columns.drop("adapter")]
        table[columns].to_csv(folder / f"{name}.csv", index=False, float_format="%.5g")
    record = json.dumps(note(run, adapters), indent=1)
    (folder / "record.json").write_text(record + "\n")


if __name__ == "__main__":
    main()
