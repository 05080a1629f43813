"""What a GPU does: prompts scored and tokens trained on a second, beside the library defaults.

    python benchmarks/gpu.py                               # a random Llama-3-8B shape in bf16
    python benchmarks/gpu.py --shape tiny --device cpu     # the same on anything, to try it

One run measures, in turn: a large matrix product (the peak), scoring of all options beside
`generate` in batches (and lm-evaluation-harness where it is installed), and LoRA training beside
TRL's defaults, each with its largest memory. Weights are random and are made on the device:
nothing is downloaded. Without a GPU it says so in one line and ends with 1.
"""

import argparse
import os
import sys
import warnings
from pathlib import Path

os.environ.setdefault('TOKENIZERS_PARALLELISM', 'false')
sys.path.append(str(Path(__file__).resolve().parent.parent))

import answering
import tuning

SHAPES = dict(
    llama3_8b=dict(
        vocab_size=128_256,
        hidden_size=4096,
        intermediate_size=14_336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
        rope_parameters=dict(rope_type='default', rope_theta=500_000.0),
    ),
    tiny=dict(
        vocab_size=32_000,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    ),
)


def random_model(shape, device, dtype):
    "A Llama of random weights in memory, as the package takes it"
    import torch
    import transformers

    from culturespa.local import LocalModel

    ids = dict(bos_token_id=1, eos_token_id=2, pad_token_id=0)
    config = transformers.LlamaConfig(**SHAPES[shape], **ids)
    torch.manual_seed(0)
    with torch.device(device):
        lm = transformers.AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype))
    return LocalModel.of(lm.eval(), answering.word_tokenizer(), shape)


def scoring(model, prompts, rounds, batch):
    "Prompts a second of the ways to answer them, and the share of the peak"
    from culturespa.models import Sampling

    chats, labels = answering.random_chats(prompts)
    few = Sampling(max_new_tokens=2)
    ways = answering.ways

    def without_loop(*given):
        "One prompt at a time says nothing about a GPU"
        found = ways(*given)
        del found['loop']
        return found

    answering.ways = without_loop
    answering.show(answering.measure(model.name, model, few, chats, labels, rounds, batch))


def training(model, samples, rounds, at_once):
    "Samples and tokens a second of LoRA training"
    from culturespa.tuning import Tuning

    settings = Tuning(batch=min(128, samples), micro_batch=at_once)
    drawn = tuning.random_samples(samples)
    found = tuning.measure(model, drawn, settings, rounds)
    tuning.show(model.name, model, drawn, settings, found, 'wall')


def main():
    as_it_is = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_it_is)
    parser.add_argument('--shape', choices=SHAPES, default='llama3_8b')
    parser.add_argument('--device', default='cuda')
    parser.add_argument('--dtype', default='bfloat16')
    parser.add_argument('--prompts', type=int, default=2000, help='that are scored')
    parser.add_argument('--samples', type=int, default=512, help='that are trained on')
    parser.add_argument('--batch', type=int, default=64, help='rows of `generate` and lm-eval')
    parser.add_argument('--micro-batch', type=int, default=16, help='samples of a training at once')
    parser.add_argument('--rounds', type=int, default=3)
    args = parser.parse_args()
    warnings.filterwarnings('ignore')
    import torch
    import transformers

    if args.device.startswith('cuda') and not torch.cuda.is_available():
        sys.exit('no GPU here: nothing was measured (--shape tiny --device cpu tries the command)')
    transformers.utils.logging.set_verbosity_error()
    model = random_model(args.shape, args.device, args.dtype)
    scoring(model, args.prompts, args.rounds, args.batch)
    if args.device.startswith('cuda'):
        memory = torch.cuda.max_memory_allocated() / 2**30
        print(f'{torch.cuda.get_device_name()}: at most {memory:.1f} GiB while answering')
    training(model, args.samples, args.rounds, args.micro_batch)


if __name__ == '__main__':
    main()
