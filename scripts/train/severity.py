#!/usr/bin/env python3
"""The checkpoint of models/severity: log lines to error, warning, info.

    python scripts/train/severity.py checkpoint CHECKPOINT LOGHUB OUT
    python scripts/train/severity.py measure CHECKPOINT LOGHUB

CHECKPOINT is the one that models/sentiment was made of, LOGHUB a folder with Apache.log, BGL.log, … The texts are
severity.tsv, which is ours, and the different lines of the seven logs of loghub that say their level, without it
(tools/severity.py reads them). `measure` leaves out one log after the other: it trains on our lines and six logs and
asks for the seventh. `checkpoint` trains on all; OUT becomes a checkpoint in Hugging Face layout, with texts.txt for
`squeezeflow model build --calibrate`.

A worker reads lines masked (`input.mask`), so most are trained in that form, some as they are. In each epoch each line
is dressed anew: mostly without a level, often with what stands before a message in a log, sometimes with a level, which is
drawn: the level that a line names is right, whatever else it says. The tables of words stay as they are, as in
models/entities.

One thread and fixed seeds: with the pinned versions on one machine a second run gives the same weights.
"""
import argparse
import math
import random
import re
import shutil
import sys
import time
from collections import Counter
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers import SqueezeBertForSequenceClassification

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "tools"))
import severity as loghub  # noqa: E402, of tools

LABELS = ("error", "warning", "info")
COPIED = ("tokenizer.json", "tokenizer_config.json")
LONGEST = 64
WORDS = {
    "error": "error error error err fatal severe critical crit failure emerg alert panic".split(),
    "warning": "warn warn warning warning wrn".split(),
    "info": "info info info information notice debug debug trace".split(),
}
# Names of loggers and threads are made of these: they say nothing, whatever words are in them.
PACKAGES = "org com io net app core acme shop api server client util impl http rpc db storage cluster system v1 v2".split()
PIECES = (
    "Node Server Client Manager Handler Service Task Job Block Data Name Memory Store Event Queue Thread Pool Session "
    "Resource Container Image Factory Context Master Worker Connection Listener Reader Writer Output Input Merger "
    "Sorter Shuffle Kernel Disk Cache Net Security Token Key User Auth Order Monitor Timer Scheduler Allocator Leader "
    "Quorum Peer Responder Dispatcher Executor Backend Launcher Committer Error Failure Retry Exception Health Impl"
).split()
# @ is the level, and goes with its marks where a line names none.
DRESSES = (
    "@ {m}", "@ {m}", "@: {m}", "[@] {m}", "{t} @ {m}", "{t} @ [{n}] {n}: {m}", "{t} - @ [{n}] - {m}",
    "[{t}] [@] {m}", "{t} host-4 {n}[812]: @ {m}", "{t} 2210 @ {n} [req-8f1c0d2e - -] {m}", "<@> {t} {n}: {m}",
    '{{"level":"@","msg":"{m}"}}', '{{"ts":"{t}","severity":"@","message":"{m}"}}', "level=@ ts={t} msg={m}",
    "{n}: @: {m}", "{n} @ {m}", "{t} @ {n} {m}", "{t} @ {n}: {m}", "@ {n}: {m}", "@ [{n}] {m}", "{t} {n}: @ {n}: {m}",
)
TIMES = ("2024-05-10 10:02:31,114", "2024-05-10T10:02:31Z", "24/05/10 10:02:31", "Fri May 10 10:02:31 2024", "1715335351")
NO_LEVEL = re.compile(r'"(?:level|severity)":"@",?|level=@|[\[<]@[\]>]|- @|@:|@')
PARTS = re.compile(
    r"""(?P<path>(?:(?<![^\s"'`(\[{<=:,;|>]))(?:/|~/|\.\.?/|[A-Za-z]:\\|[A-Za-z0-9]{1,12}://)[\w/\\.~%+@=&?#$*:-]*\w)
    |(?P<uuid>\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b)
    |(?P<ip>(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}(?!\w)|(?:[0-9a-f]{1,4}:){7}[0-9a-f]{1,4}|[0-9a-f:]*::[0-9a-f:]*\d\b)(?:[:/]\d+)?)
    |(?P<hex>\b0x[0-9a-f]+\b|\b(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{8,}\b)
    |(?P<number>(?:(?<![^\W_])[-+])?(?<![^\W_])\d+(?:[.,:/-]\d+)*)""",
    re.VERBOSE | re.IGNORECASE,
)


def masked(text):
    """As src/text/mask.rs does it, nearly."""
    return PARTS.sub(lambda found: "0" if found.lastgroup == "number" else found.lastgroup, text)


def name(chance):
    """Of a logger, thread or part of a program."""
    pieces = "".join(chance.choices(PIECES, k=chance.randint(1, 3)))
    packages = ".".join(chance.choices(PACKAGES, k=chance.randint(1, 4)))
    forms = (pieces, f"{packages}.{pieces}", f"{packages}.{pieces}", f"{packages}.{pieces}${chance.choice(PIECES)}",
             f"{pieces}-{chance.randint(1, 9)}", f"{packages}[{chance.randint(1, 9999)}]", pieces.lower(), pieces.upper(),
             f"{pieces}@{chance.randint(1, 999)}", "main")  # fmt: skip
    return chance.choice(forms)


def dressed(text, label, chance):
    """The line as it is trained this time, and its label."""
    level = None
    if chance.random() < 0.55:
        label = level = chance.choice(LABELS)
    if level or chance.random() < 0.6:
        dress = chance.choice(DRESSES)
        if level:
            word = chance.choice(WORDS[level])
            dress = dress.replace("@", chance.choice((word, word.upper(), word.capitalize())))
        else:
            dress = NO_LEVEL.sub("", dress)
        text = dress.format(m=text, t=chance.choice(TIMES), n=name(chance)).strip()
    return (masked(text) if chance.random() < 0.85 else text), LABELS.index(label)


def ours():
    rows = (line.split("\t") for line in (HERE / "severity.tsv").read_text(encoding="utf-8").splitlines())
    return [(text, label) for label, text in rows]


def padded(rows):
    width = max(map(len, rows))
    ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    return ids, torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])


class Reader:
    def __init__(self, checkpoint):
        self.tokenizer = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(LONGEST)
        self.unknown = self.tokenizer.token_to_id("[UNK]")

    def ids(self, text):
        return self.tokenizer.encode(text).ids


def train(a, reader, texts, after=lambda model, epoch: None):
    """A model of these (text, label); `after` sees it at the end of each epoch."""
    torch.manual_seed(a.seed)
    chance = random.Random(a.seed)
    model = SqueezeBertForSequenceClassification.from_pretrained(
        a.checkpoint,
        num_hidden_layers=a.layers,
        id2label=dict(enumerate(LABELS)),
        label2id={label: index for index, label in enumerate(LABELS)},
        ignore_mismatched_sizes=True,
    )
    for name, parameter in model.named_parameters():
        parameter.requires_grad = "_embeddings.weight" not in name
    head = [p for n, p in model.named_parameters() if n.startswith("classifier.")]
    body = [p for n, p in model.named_parameters() if p.requires_grad and not n.startswith("classifier.")]
    optimizer = torch.optim.AdamW(
        [{"params": body, "lr": a.rate}, {"params": head, "lr": a.head_rate}], weight_decay=0.01
    )
    steps = a.epochs * math.ceil(len(texts) / a.batch)
    warm = steps // 10
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warm, (steps - step) / (steps - warm))
    )
    of = Counter(label for _, label in texts)
    weights = torch.tensor([len(texts) / len(LABELS) / of[label] for label in LABELS])
    weights[LABELS.index("info")] *= a.info_weight
    for epoch in range(1, a.epochs + 1):
        model.train()
        rows = [dressed(text, label, chance) for text, label in texts]
        rows = [(reader.ids(text), label) for text, label in rows]
        # Those of like length together, but for some noise.
        rows.sort(key=lambda row: len(row[0]) * chance.uniform(0.7, 1.3))
        parts = [rows[at : at + a.batch] for at in range(0, len(rows), a.batch)]
        chance.shuffle(parts)
        total, began = 0.0, time.monotonic()
        for part in parts:
            ids, mask = padded([row for row, _ in part])
            hidden = (torch.rand(ids.shape) < a.unknown) & (mask == 1) & (ids != 101) & (ids != 102)
            logits = model(input_ids=ids.masked_fill(hidden, reader.unknown), attention_mask=mask).logits
            right = torch.tensor([label for _, label in part])
            loss = torch.nn.functional.cross_entropy(logits, right, weight=weights)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_([*body, *head], 1.0)
            optimizer.step()
            schedule.step()
            total += loss.item() * len(part)
        print(f"  epoch {epoch}: loss {total / len(rows):.4f}, {time.monotonic() - began:.0f} s", flush=True)
        after(model, epoch)
    return model


def said(model, reader, texts):
    """The label of each text."""
    model.eval()
    labels = []
    with torch.inference_mode():
        for at in range(0, len(texts), 32):
            ids, mask = padded([reader.ids(masked(text)) for text in texts[at : at + 32]])
            labels += [LABELS[best] for best in model(input_ids=ids, attention_mask=mask).logits.argmax(-1)]
    return labels


def measure(a, reader):
    """Each log by a model that has not seen it; --ours: all by one that has seen our lines only."""
    known = list(loghub.lines(a.loghub))
    forms = loghub.FORMS
    answers = {}
    for left_out in ("all",) if a.ours else loghub.LINE:
        asked = [one for one in known if left_out in ("all", one.log)]
        print(f"without {left_out}: {len(asked)} lines", flush=True)

        def ask(model, epoch):
            for form, text in forms.items():
                got = answers.setdefault((epoch, form), [])
                got += zip(asked, said(model, reader, [text(one) for one in asked]))

        train(a, reader, ours() + [(one.text, one.label) for one in known if one not in asked], ask)
    for epoch in range(1, a.epochs + 1):
        for form in forms:
            print(f"epoch {epoch}, {form}:", loghub.short(answers[epoch, form]))
    for form in forms:
        print(f"\n{form}\n{loghub.table(answers[a.epochs, form])}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("checkpoint", "measure"))
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("loghub", type=Path)
    parser.add_argument("out", type=Path, nargs="?")
    parser.add_argument("--ours", action="store_true", help="our lines only")
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=3e-4, help="of the encoder")
    parser.add_argument("--head-rate", type=float, default=1e-3)
    parser.add_argument("--info-weight", type=float, default=1.6, help="of an info line against others: most lines are")
    parser.add_argument("--unknown", type=float, default=0.1, help="share of tokens that are hidden in training")
    parser.add_argument("--seed", type=int, default=17)
    a = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    reader = Reader(a.checkpoint)
    if a.what == "measure":
        return measure(a, reader)

    texts = ours() + ([] if a.ours else [(one.text, one.label) for one in loghub.lines(a.loghub)])
    model = train(a, reader, texts)
    a.out.mkdir(parents=True, exist_ok=True)
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(a.out)
    state = {n: t.contiguous() for n, t in model.state_dict().items() if "position_ids" not in n}
    save_file(dict(sorted(state.items())), a.out / "model.safetensors", metadata={"format": "pt"})
    for name in COPIED:
        shutil.copyfile(a.checkpoint / name, a.out / name)
    chance = random.Random(a.seed)
    chance.shuffle(texts)
    lines = [dressed(*one, chance)[0] for one in texts]
    (a.out / "texts.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
