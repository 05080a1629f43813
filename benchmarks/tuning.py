"""Samples per second in training: ours against TRL's defaults on the same pairs.

    python benchmarks/tuning.py                        # the demo model and a random Llama of 100 M
    python benchmarks/tuning.py --which demo --samples 1024 --rounds 5
    python benchmarks/tuning.py --threads 1            # processor time of one core

Every round trains both adapters from the same start, one after the other, so that a busy machine
slows both; medians over rounds, and of the ratio within a round. Timed is the whole call: chats to
tokens, making the trainer, steps, saving. TRL gets chats with prompt and completion, the same
LoRA, rate, schedule and samples a step, and else what it does by itself. The losses of all steps
are compared. Tokens are those of samples, without padding, for both.
"""

import argparse
import os
import random
import sys
import tempfile
import time
import warnings
from pathlib import Path
from statistics import median

os.environ.setdefault('TOKENIZERS_PARALLELISM', 'false')
sys.path.append(str(Path(__file__).resolve().parent.parent))

import pandas as pd
from answering import peak, random_chats, random_llama, wait

CULTURES = 18


def demo_samples(n):
    "The demo survey as all its cultures are asked it, with their likeliest answers, mixed"
    from culturespa.prompts import Prompter
    from culturespa.samples import training_chats
    from culturespa.survey_files import load_survey

    survey = load_survey('demo')
    modes = survey.modal.rename_axis('question_id').reset_index()
    pairs = modes.melt('question_id', var_name='culture', value_name='code')
    prompter = Prompter(survey)
    return training_chats(pairs.sample(n, random_state=1), survey.questions, prompter)


def random_samples(n):
    "Chats of about 150 random tokens, under one of 18 system prompts of 35, with a number"
    chats, labels = random_chats(n)
    words = chats[0][0]['content'].split()
    draw = random.Random(1)
    samples = []
    for (_, user), some in zip(chats, labels):
        culture = f'w{draw.randrange(CULTURES)}'
        system = ' '.join([*words[:6], culture, *words[7:]])
        answer = dict(role='assistant', content=draw.choice(some))
        prompt = [dict(role='system', content=system), user]
        samples.append(dict(prompt=prompt, completion=[answer]))
    return samples


def train_with_trl(model, samples, folder, settings):
    "What TRL does with chats by itself; the loss of every step"
    from datasets import Dataset
    from transformers import PrinterCallback, set_seed
    from trl import SFTConfig, SFTTrainer

    from culturespa.tuning import batch_sizes, lent, lora_settings

    batch, at_once = batch_sizes(settings, len(samples), specific=False)
    set_seed(settings.seed)
    with lent(model) as lm:
        trainer = SFTTrainer(
            lm,
            args=SFTConfig(
                output_dir=str(folder),
                learning_rate=settings.learning_rate,
                lr_scheduler_type=settings.schedule,
                warmup_steps=settings.warmup,
                num_train_epochs=settings.epochs,
                seed=settings.seed,
                data_seed=settings.seed,
                per_device_train_batch_size=at_once,
                gradient_accumulation_steps=batch // at_once,
                bf16=str(lm.dtype) == 'torch.bfloat16',
                use_cpu=lm.device.type == 'cpu',
                logging_steps=1,
                report_to='none',
                disable_tqdm=True,
            ),
            processing_class=model.tokenizer,
            train_dataset=Dataset.from_list(samples),
            peft_config=lora_settings(settings, lm),
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        trainer.save_model(str(folder))
        trainer.model.unload()
    return [log['loss'] for log in trainer.state.log_history if 'loss' in log]


def train_ours(model, samples, folder, settings):
    "The same here"
    from culturespa.tuning import train_adapter

    train_adapter(model, samples, folder, settings, quiet=True)
    return pd.read_csv(folder / 'loss.csv').loss.tolist()


WAYS = {'TRL, its defaults': train_with_trl, 'culturespa': train_ours}


def measure(model, samples, settings, rounds):
    "Rounds of both ways in turn: per way seconds, processor seconds, memory and losses"
    import torch

    on_gpu = model.lm.device.type == 'cuda'
    found = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as place:
        for n in range(rounds + 1):  # the first warms up
            for way, train in WAYS.items():
                few = samples if n else samples[: 2 * settings.batch]
                if on_gpu:
                    torch.cuda.reset_peak_memory_stats()
                clock, used = time.perf_counter(), time.process_time()
                losses = train(model, few, Path(place) / way[:4], settings)
                wait(str(model.lm.device))
                took = dict(
                    wall=time.perf_counter() - clock,
                    processor=time.process_time() - used,
                    memory=torch.cuda.max_memory_allocated() / 2**30 if on_gpu else None,
                    losses=losses,
                )
                if n:
                    found[way].append(took)
                    print(f'round {n}, {way}: {took["wall"]:.1f} s', file=sys.stderr, flush=True)
    return found


def sizes(model, samples, settings):
    "Tokens of all samples, and those that must be computed"
    from culturespa.compact import alike_together, merge_beginnings
    from culturespa.processes import filled_sampler
    from culturespa.samples import tokenize_sample
    from culturespa.tuning import batch_sizes

    rows = [tokenize_sample(sample, model)['input_ids'] for sample in samples]
    batch, at_once = batch_sizes(settings, len(rows), specific=False)
    order = alike_together(list(filled_sampler(len(rows), 1, settings.seed)), batch, rows)
    distinct = 0
    for at in range(0, len(order), at_once):
        part = order[at : at + at_once]
        distinct += len(merge_beginnings([rows[number][:-1] for number in part])[0])
    return sum(map(len, rows)), distinct


def show(name, model, samples, settings, found, timed):
    "A table of one model"
    import torch

    tokens, distinct = sizes(model, samples, settings)
    lm = model.lm
    millions = sum(weight.numel() for weight in lm.parameters()) / 1e6
    print(
        f'\n{name}: {millions:.1f} M parameters, {model.record["dtype"]} on {lm.device.type}, '
        f'{len(samples)} samples of {tokens / len(samples):.0f} tokens, '
        f'{settings.batch} a step, {settings.micro_batch} at once, '
        f'{torch.get_num_threads()} threads, medians of {len(found["culturespa"])} rounds, {timed}'
    )
    print(f'of {tokens:,} tokens {distinct:,} are computed ({distinct / tokens:.0%})')
    seconds = {way: [took[timed] for took in each] for way, each in found.items()}
    print(f'{"":20}{"samples/s":>10}{"tokens/s":>10}{"GiB":>7}{"ours is faster":>16}')
    for way, own in seconds.items():
        ratio = median(other / ours for other, ours in zip(own, seconds['culturespa']))
        memory = found[way][-1]['memory']
        print(
            f'{way:20}{len(samples) / median(own):>10,.1f}{tokens / median(own):>10,.0f}'
            f'{"" if memory is None else format(memory, ".1f"):>7}{ratio:>14.2f} x'
        )
    theirs, ours = (found[way][-1]['losses'] for way in WAYS)
    apart = max(abs(a - b) for a, b in zip(theirs, ours, strict=True))
    print(f'losses of {len(ours)} steps differ by at most {apart:.1e}')
    layers = sum(weight.numel() for weight in lm.model.layers.parameters() if weight.ndim == 2)
    need = 4 * layers * distinct  # there and back, two operations a weight
    rate = need / median(seconds['culturespa'])
    top = peak(str(lm.device), lm.dtype)
    print(f'ours does {rate / 1e9:,.0f} GFLOP/s, {rate / top:.0%} of a large matrix product')


def main():
    as_it_is = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_it_is)
    parser.add_argument('--which', default='demo,random', help='demo, random, or both')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--samples', type=int, help='512 of the demo, 64 random ones')
    parser.add_argument('--threads', type=int, help='of processor work')
    parser.add_argument('--device')
    parser.add_argument('--dtype')
    args = parser.parse_args()
    warnings.filterwarnings('ignore')
    import torch
    import transformers

    from culturespa.local import LocalModel
    from culturespa.tuning import DEMO_TUNING, Tuning

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    if args.threads:
        torch.set_num_threads(args.threads)
    timed = 'processor' if args.threads == 1 else 'wall'
    with tempfile.TemporaryDirectory() as made:
        for which in args.which.split(','):
            if which == 'demo':
                path, draw, n, settings = 'demo', demo_samples, 512, DEMO_TUNING
            else:
                path, draw, n, settings = random_llama(Path(made)), random_samples, 64, Tuning()
            settings = Tuning(**(vars(settings) | dict(epochs=1, batch=min(settings.batch, 32))))
            model = LocalModel(path, device=args.device, dtype=args.dtype)
            samples = draw(args.samples or n)
            found = measure(model, samples, settings, args.rounds)
            show(which, model, samples, settings, found, timed)


if __name__ == '__main__':
    main()
