"""Answers per second: loops, batches, lm-evaluation-harness, and culturespa's two ways.

    python benchmarks/answering.py     the demo model and a random 100 M Llama, on this machine
    python benchmarks/answering.py --which random --device cuda --dtype bfloat16 --items 2000

Every round times all five ways on the same prompts, one after the other, so that a busy machine
slows all of them; what counts are the medians over rounds and the ratios within a round. Tokenising
and templates are inside the timing everywhere.
  (a) loop      one prompt at a time through `generate`, as the authors' script does it
  (b) batched   `generate` on left-padded batches, in the order of the questions
  (c) lm-eval   lm-evaluation-harness, requests of a `multiple_choice` task (left out where it is
                not installed)
  (d) sample    culturespa, the model writes
  (e) score     culturespa, probabilities of all options as whole replies
The random model never ends a reply by itself, so replies are cut at two tokens (a number and the
end), the least any chat model writes; the demo model ends its own. (e)'s share of the machine's
matrix-multiply peak counts only tokens that must be computed: the shared start once, each
prompt's rest, each label, and the last feed-forward part and the last matrix only where a
distribution is needed.
"""

import argparse, json, logging, os, random, sys, tempfile, time, warnings
from pathlib import Path
from statistics import median

sys.path.append(str(Path(__file__).resolve().parent.parent))
WORDS, SHARED, LENGTH = (
    31_900,
    35,
    150,
)  # invented words, tokens in the shared start, tokens in a prompt


def word_tokenizer():
    "A tokenizer of invented words, every word a token, with a chat template"
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers

    names = [
        "<pad>",
        "<s>",
        "<end>",
        "<unk>",
        *map(str, range(12)),
        ".",
        "system",
        "user",
        "assistant",
        ":",
    ]
    vocabulary = {w: n for n, w in enumerate([*names, *(f"w{n}" for n in range(WORDS))])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()]
    )
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=words,
        bos_token="<s>",
        eos_token="<end>",
        pad_token="<pad>",
        unk_token="<unk>",
    )
    tokenizer.chat_template = (
        "{{bos_token}} {% for m in messages %}"
        "{{m['role']}} : {{m['content']}} {{eos_token}} {% endfor %}"
        "{% if add_generation_prompt %}assistant :{% endif %}"
    )
    return tokenizer


def random_llama(folder: Path) -> Path:
    "A Llama of about 100 M random parameters, 32,000 words, every word a token"
    import torch, transformers

    word_tokenizer().save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=32_000,
        hidden_size=768,
        intermediate_size=2048,
        num_hidden_layers=11,
        num_attention_heads=12,
        num_key_value_heads=12,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        tie_word_embeddings=True,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def random_chats(n: int) -> tuple[list, list]:
    """Chats of about 150 tokens with a shared system prompt, and their labels

    2 to 10 options, as often as in the survey, and the spread of lengths that its questions have
    (standard deviation 30 % of the mean behind the shared start).
    """
    rng = random.Random(0)
    say = lambda k: " ".join(f"w{rng.randrange(WORDS)}" for _ in range(k))
    system, chats, labels = say(SHARED - 5), [], []
    for _ in range(n):
        options = rng.choices([2, 3, 4, 5, 10], [35, 35, 110, 28, 51])[0]
        each = 2 if options == 10 else 6
        rest = min(max((LENGTH - SHARED) * rng.lognormvariate(-0.04, 0.28), 45), 240)
        used = 5 + options * (2 + each)
        lines = " ".join(f"{k}. {say(each)}" for k in range(1, options + 1))
        chats.append(
            [
                dict(role="system", content=system),
                dict(role="user", content=f"{say(max(10, int(rest) - used))} {lines}"),
            ]
        )
        labels.append([str(k) for k in range(1, options + 1)])
    return chats, labels


def demo_chats(n: int) -> tuple[list, list]:
    "The demo survey as a Zimbabwean is asked it"
    from culturespa.prompts import Prompter
    from culturespa.survey import codes_of
    from culturespa.survey_files import load_survey

    survey = load_survey("demo")
    prompter, culture = (
        Prompter(survey),
        "ZWE" if "ZWE" in set(survey.cultures.culture) else survey.cultures.culture.iloc[0],
    )
    rows = survey.questions.to_dict("records") * (n // len(survey.questions) + 1)
    chats, labels = [], []
    for k, q in enumerate(rows[:n]):
        c = (
            survey.cultures.culture.iloc[k // len(survey.questions)]
            if n > len(survey.questions)
            else culture
        )
        chats.append(prompter.chat("P1", q, c))
        labels.append([str(code) for code in codes_of(q)])
    return chats, labels


def ways(model, sampling, chats, labels, batch: int) -> dict:
    "The five ways as functions that answer all chats once"
    import torch
    import transformers

    lm, tokenizer = model.lm, model.tokenizer

    config = transformers.GenerationConfig(
        do_sample=True,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=0,
        max_new_tokens=sampling.max_new_tokens,
        eos_token_id=model.weights.ends,
        pad_token_id=tokenizer.pad_token_id,
    )
    tokenizer.padding_side = "left"

    def texts(some):
        return [model.weights.frame.render(chat) for chat in some]

    @torch.inference_mode()
    def batched(size):
        for k in range(0, len(chats), size):
            inputs = tokenizer(
                texts(chats[k : k + size]),
                add_special_tokens=False,
                padding=True,
                return_tensors="pt",
                return_token_type_ids=False,
            ).to(lm.device)
            out = lm.generate(**inputs, generation_config=config)
            tokenizer.batch_decode(out[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)

    def fresh(call):
        model.reader.forget()  # the shared start is computed anew in every round
        call()

    found = {
        "loop": lambda: batched(1),
        "batched": lambda: batched(batch),
        "sample": lambda: fresh(lambda: model.generate(chats, sampling, list(range(len(chats))))),
        "score": lambda: fresh(lambda: model.option_probabilities(chats, labels, sampling)),
    }
    try:
        logging.disable(logging.WARNING)
        from lm_eval.api.instance import Instance
        from lm_eval.models.huggingface import HFLM
    except ImportError:
        return found
    harness = HFLM(
        pretrained=lm, tokenizer=tokenizer, batch_size=batch, max_length=2048, add_bos_token=False
    )

    def multiple_choice():
        requests = [
            Instance("loglikelihood", {}, (text, f" {label}"), n)
            for n, (text, some) in enumerate(zip(texts(chats), labels))
            for label in some
        ]
        harness.loglikelihood(requests, disable_tqdm=True)

    return found | {"lm-eval": multiple_choice}


def peak(device: str, dtype, seconds: float = 0.5) -> float:
    "Floating-point operations per second of a large matrix product"
    import torch

    n = 2048 if device == "cpu" else 8192
    a, b = (
        torch.randn(n, n, device=device, dtype=dtype),
        torch.randn(n, n, device=device, dtype=dtype),
    )
    best, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < seconds or not best:
        wait(device)
        t = time.perf_counter()
        a @ b
        wait(device)
        best = max(best, 2 * n**3 / (time.perf_counter() - t))
    return best


def wait(device: str):
    import torch

    if device.startswith("cuda"):
        torch.cuda.synchronize()


def work(model, chats, labels) -> float:
    "Floating-point operations that scoring cannot do without"
    c, prompts = model.lm.config, model.weights.ids(chats)
    shared = len(os.path.commonprefix(prompts))
    layer = sum(p.numel() for p in model.lm.model.layers[0].parameters() if p.ndim == 2)
    head, width = (
        c.hidden_size * c.vocab_size,
        c.num_attention_heads * getattr(c, "head_dim", c.hidden_size // c.num_attention_heads),
    )
    last = model.lm.model.layers[-1].mlp
    spared = 2 * sum(p.numel() for p in last.parameters()) if model.reader.trims else 0
    flops = c.num_hidden_layers * (2 * layer * shared + 4 * width * shared**2 / 2) - spared * (
        shared - 1
    )
    for prompt, some in zip(prompts, labels):
        replies = [tuple(model.weights.frame.reply_ids(label)) for label in some]
        beginnings = {reply[:k] for reply in replies for k in range(1, len(reply) + 1)}
        rest, nodes = len(prompt) - shared, len(beginnings)
        sees = rest * shared + rest**2 / 2 + nodes * (len(prompt) + 1)
        flops += (
            c.num_hidden_layers * (2 * layer * (rest + nodes) + 4 * width * sees)
            + 2 * head * (1 + nodes)
            - spared * (rest - 1)
        )
    return flops


def changed(model, other, chats, labels, sampling) -> dict:
    "Share of answers, most probable and sampled, that another number format changes"
    (p, _), (q, _) = (m.option_probabilities(chats, labels) for m in (model, other))
    seeds = list(range(len(chats)))
    return dict(
        argmax=sum(a.argmax() != b.argmax() for a, b in zip(p, q)) / len(p),
        sampled=sum(
            a != b
            for a, b in zip(
                model.generate(chats, sampling, seeds), other.generate(chats, sampling, seeds)
            )
        )
        / len(p),
    )


def measure(name, model, sampling, chats, labels, rounds, batch) -> dict:
    "Interleaved rounds of the five ways on one model"
    import torch

    calls, seconds, peaks = ways(model, sampling, chats, labels, batch), {}, []
    device = str(model.lm.device)
    for r in range(rounds + 1):  # the first round warms up
        if r:
            peaks.append(peak(device, model.lm.dtype))
        for way, call in calls.items():
            wait(device)
            begin = time.perf_counter()
            call()
            wait(device)
            if r:
                seconds.setdefault(way, []).append(time.perf_counter() - begin)
        print(
            f"{name}: round {r} of {rounds} "
            + (", ".join(f"{w} {s[-1]:.2f} s" for w, s in seconds.items()) or "(warm-up)"),
            file=sys.stderr,
            flush=True,
        )
    need = work(model, chats, labels)
    rates = {w: len(chats) / median(s) for w, s in seconds.items()}
    ratio = {w: median(s / e for s, e in zip(seconds[w], seconds["score"])) for w in seconds}
    tokens = [len(p) for p in model.weights.ids(chats)]
    return dict(
        model=name,
        parameters=sum(p.numel() for p in model.lm.parameters()),
        dtype=model.record["dtype"],
        device=device,
        threads=torch.get_num_threads(),
        items=len(chats),
        rounds=rounds,
        batch=batch,
        budget=model.reader.budget,
        tokens_per_prompt=sum(tokens) / len(tokens),
        shared=len(os.path.commonprefix(model.weights.ids(chats))),
        answers_per_second=rates,
        score_is_faster_by=ratio,
        seconds=seconds,
        peak_gflops=median(peaks) / 1e9,
        share_of_peak=median(need / s / p for s, p in zip(seconds["score"], peaks)),
    )


LABEL = dict(
    zip(
        ["loop", "batched", "lm-eval", "sample", "score"],
        [
            "(a) generate, one at a time",
            "(b) generate, batched",
            "(c) lm-eval multiple_choice",
            "(d) culturespa sample",
            "(e) culturespa probabilities",
        ],
    )
)


def show(found: dict):
    print(
        f"\n{found['model']}: {found['parameters'] / 1e6:.1f} M parameters, "
        f"{found['dtype']} on {found['device']}, "
        f"{found['items']} prompts of "
        f"{found['tokens_per_prompt']:.0f} tokens ({found['shared']} shared), "
        f"medians of {found['rounds']} rounds"
    )
    print(f"{'':32}{'answers/s':>10}{'(e) is faster':>15}")
    for way, label in LABEL.items():
        if way in found["answers_per_second"]:
            print(
                f"{label:32}{found['answers_per_second'][way]:>10,.1f}"
                f"{found['score_is_faster_by'][way]:>13.2f} x"
            )
    print(
        f"(e) reaches {found['share_of_peak']:.0%} of the "
            f"{found['peak_gflops']:,.0f} GFLOP/s of a large matrix product"
    )
    for what, share in found.get("changed_answers", {}).items():
        print(f"{found.get('against')} changes {share:.1%} of {what} answers")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--which",
        default="demo,random",
        help="demo, random, or a model folder; several with commas",
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--items", type=int, help="prompts per round")
    parser.add_argument("--batch", type=int, help="rows per batch of (b) and (c)")
    parser.add_argument("--budget", type=int)
    parser.add_argument("--device")
    parser.add_argument("--dtype")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--compare-dtype", help="also count the answers that this dtype changes")
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    from culturespa.local import LocalModel
    from culturespa.models import Sampling

    everything = []
    with tempfile.TemporaryDirectory() as made:
        for which in args.which.split(","):
            is_random = which == "random"
            path = random_llama(Path(made)) if is_random else which
            model = LocalModel(path, device=args.device, dtype=args.dtype, budget=args.budget)
            chats, labels = (random_chats if is_random else demo_chats)(
                args.items or (96 if is_random else 260)
            )
            sampling = Sampling(max_new_tokens=2) if is_random else Sampling()
            found = measure(
                "random Llama" if is_random else model.name,
                model,
                sampling,
                chats,
                labels,
                args.rounds,
                args.batch or (16 if is_random else 64),
            )
            if args.compare_dtype:
                other = LocalModel(
                    path, device=args.device, dtype=args.compare_dtype, budget=args.budget
                )
                found |= dict(
                    against=args.compare_dtype,
                    changed_answers=changed(model, other, chats, labels, sampling),
                )
            show(found)
            everything.append(found)
    if args.json:
        Path(args.json).write_text(json.dumps(everything, indent=1) + "\n")


if __name__ == "__main__":
    main()
