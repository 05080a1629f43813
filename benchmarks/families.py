"""Every family of models asked, tuned, reloaded and merged, and chat templates tried.

    python benchmarks/families.py [--templates FOLDER] [--out data/results/families]

Models are tiny and random: nothing is downloaded. A folder of templates holds *.jinja files, such
as `models/templates` of llama.cpp or `examples` of vLLM; none of them is kept. Writes families.csv
and, with templates, templates.csv.
"""

import argparse
import json
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

ANSWERS = ("1", "2", "1", "2")


def training_samples() -> list:
    "Four short questions, each with the answer to learn"
    from culturespa.families import PROBES

    samples = []
    for chat, answer in zip(PROBES, ANSWERS):
        reply = [dict(role="assistant", content=answer)]
        samples.append(dict(prompt=chat, completion=reply))
    return samples * 4


def answers_of(model) -> np.ndarray:
    "What a model says to the probes"
    from culturespa.families import PROBES

    found, _ = model.option_probabilities(PROBES, [["1", "2"]] * len(PROBES))
    return np.array(found)


def with_plain_peft(folder: Path, adapter: Path):
    "The model with its adapter, loaded by peft and transformers alone"
    import peft
    import transformers
    from culturespa.local import LocalModel

    lm = transformers.AutoModelForCausalLM.from_pretrained(folder)
    worn = peft.PeftModel.from_pretrained(lm, str(adapter)).get_base_model()
    return LocalModel.of(worn, transformers.AutoTokenizer.from_pretrained(folder))


def try_tuning(folder: Path) -> dict:
    "Train an adapter, load it in two ways, merge it"
    from culturespa.local import LocalModel
    from culturespa.adapters import merge_adapter
    from culturespa.tuning import Tuning, mean_log_probability, train_adapter

    settings = Tuning(learning_rate=0.02, epochs=4, batch=4, micro_batch=4)
    samples = training_samples()
    adapter = folder / "adapter"
    before = mean_log_probability(LocalModel(folder), samples)
    train_adapter(folder, samples, adapter, settings, quiet=True)
    tuned = LocalModel(folder, adapter)
    after = mean_log_probability(tuned, samples)
    said = answers_of(tuned)
    merged = LocalModel(merge_adapter(folder, adapter, folder / "merged"))
    config = json.loads((adapter / "adapter_config.json").read_text())
    return dict(
        targets=" ".join(sorted(config["target_modules"])),
        learned=after > before + 0.5,
        reloaded=float(abs(answers_of(with_plain_peft(folder, adapter)) / said - 1).max()),
        merged=float(abs(answers_of(merged) / said - 1).max()),
    )


def tuned_or_refused(folder: Path) -> dict:
    "What tuning gives, or why it is refused"
    from culturespa.survey import InputError

    try:
        return try_tuning(folder)
    except InputError as error:
        return dict(refused=str(error))


def families_table(place: Path) -> pd.DataFrame:
    "One row a family"
    from culturespa.families import FAMILIES, random_family, try_asking
    from culturespa.local import LocalModel

    rows = []
    for family in FAMILIES:
        folder = random_family(place / family.replace(" ", "-"), family)
        row = dict(family=family) | try_asking(LocalModel(folder)) | tuned_or_refused(folder)
        print(family, row, flush=True)
        rows.append(row)
    return pd.DataFrame(rows)


def templates_table(templates: Path, place: Path) -> pd.DataFrame:
    "One row a template"
    import transformers
    from culturespa.families import try_template
    from culturespa.models import random_model

    toy = random_model(place / "toy")
    rows = []
    for file in sorted(templates.glob("*.jinja")):
        tokenizer = transformers.AutoTokenizer.from_pretrained(toy)
        row = try_template(file.read_text(encoding="utf-8"), tokenizer)
        rows.append(dict(template=file.stem) | row)
    names = ["template", "system", "thinking", "frame", "date", "end", "same", "refused"]
    return pd.DataFrame(rows).reindex(columns=names)


def rounded(table: pd.DataFrame) -> pd.DataFrame:
    "Differences in few digits: the last ones change from machine to machine"
    table = table.copy()
    for name in table.select_dtypes("float"):
        table[name] = [float(f"{value:.0e}") for value in table[name]]
    return table


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--templates", type=Path, help="a folder of *.jinja files")
    parser.add_argument("--out", type=Path, default=Path("data/results/families"))
    parser.add_argument("--only-templates", action="store_true")
    given = parser.parse_args()
    import transformers

    warnings.simplefilter("ignore")
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    given.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        if given.templates:
            table = templates_table(given.templates, Path(folder))
            table.to_csv(given.out / "templates.csv", index=False)
        if not given.only_templates:
            table = rounded(families_table(Path(folder)))
            table.to_csv(given.out / "families.csv", index=False)


if __name__ == "__main__":
    main()
