#!/usr/bin/env python3
"""The checkpoint of models/entities: the encoder of another SqueezeBERT, fine-tuned on WNUT-17.

    python scripts/train/entities.py CHECKPOINT WNUT17 OUT

CHECKPOINT is the one that models/sentiment was made of, WNUT17 a folder with train.conll, dev.conll and test.conll
(a word, a tab, its tag; an empty line after each sentence). OUT becomes a checkpoint in Hugging Face layout, with
texts.txt for `squeezeflow model build --calibrate` and figures.json. Trained on train, the epoch chosen on dev, test
looked at once, at the end.

Every token of a word is trained, the first with the word's tag, the others with what goes on (I- or O): a worker reads
raw text and knows no words. Judged is a word's first token. The embeddings' tables stay as they are, unless
--train-tables: words that the training set lacks are left where its encoder knows them, and a worker that runs this
model beside others over the same tables has them once.

One thread and fixed seeds: with the pinned versions on one machine a second run gives the same weights.
"""
import argparse
import json
import math
import random
import shutil
import time
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers import SqueezeBertForTokenClassification

from score import figures, read, table

CLASSES = ("person", "location", "group", "corporation", "product", "creative-work")
LABELS = ["O", *(f"{prefix}-{name}" for name in CLASSES for prefix in "BI")]
INDEX = {label: index for index, label in enumerate(LABELS)}
COPIED = ("tokenizer.json", "tokenizer_config.json")
IGNORED = -100


def encode(tokenizer, sentences, longest=512):
    """Token ids, a label for each, and the place of each word's first token (None: cut off, or nothing is kept of it)."""
    rows = []
    for words, tags in sentences:
        encoding = tokenizer.encode(words, is_pretokenized=True)
        ids, of = encoding.ids[:longest], encoding.word_ids[:longest]
        labels, first = [], [None] * len(words)
        for place, word in enumerate(of):
            if word is None:
                labels.append(IGNORED)
            elif first[word] is None:
                first[word] = place
                labels.append(INDEX[tags[word]])
            else:
                labels.append(INDEX[tags[word].replace("B-", "I-")])
        rows.append((ids, labels, first))
    return rows


def padded(rows, pad):
    width = max(len(ids) for ids, *_ in rows)
    ids = torch.tensor([ids + [pad] * (width - len(ids)) for ids, *_ in rows])
    labels = torch.tensor([labels + [IGNORED] * (width - len(labels)) for _, labels, _ in rows])
    mask = torch.tensor([[1] * len(ids) + [0] * (width - len(ids)) for ids, *_ in rows])
    return ids, mask, labels


def batches(rows, size, chance):
    """All rows once, in an order of chance, those of like length together."""
    order = list(range(len(rows)))
    chance.shuffle(order)
    pool = 50 * size
    order = [i for at in range(0, len(order), pool) for i in sorted(order[at : at + pool], key=lambda i: len(rows[i][0]))]
    parts = [order[at : at + size] for at in range(0, len(order), size)]
    chance.shuffle(parts)
    return parts


def predict(model, rows, pad):
    """Tags of each sentence's words."""
    model.eval()
    order = sorted(range(len(rows)), key=lambda i: len(rows[i][0]))
    tags = [None] * len(rows)
    with torch.inference_mode():
        for at in range(0, len(order), 32):
            part = order[at : at + 32]
            ids, mask, _ = padded([rows[i] for i in part], pad)
            best = model(input_ids=ids, attention_mask=mask).logits.argmax(-1)
            for i, labels in zip(part, best):
                tags[i] = ["O" if place is None else LABELS[labels[place]] for place in rows[i][2]]
    return tags


def train(model, rows, a, pad, unknown, judge):
    head = [p for name, p in model.named_parameters() if name.startswith("classifier.")]
    body = [(n, p) for n, p in model.named_parameters() if p.requires_grad and not n.startswith("classifier.")]
    plain = [p for n, p in body if p.ndim < 2]
    decayed = [p for n, p in body if p.ndim >= 2]
    optimizer = torch.optim.AdamW(
        [
            {"params": decayed, "lr": a.rate, "weight_decay": 0.01},
            {"params": plain, "lr": a.rate, "weight_decay": 0.0},
            {"params": head, "lr": a.head_rate, "weight_decay": 0.0},
        ]
    )
    steps = a.epochs * math.ceil(len(rows) / a.batch)
    warm = steps // 10
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warm, (steps - step) / (steps - warm))
    )
    weights = None
    if a.entity_weight != 1.0:
        weights = torch.tensor([1.0 if label == "O" else a.entity_weight for label in LABELS])
    chance, best = random.Random(a.seed), (-1.0, None, None)
    for epoch in range(1, a.epochs + 1):
        model.train()
        total, began = 0.0, time.monotonic()
        for part in batches(rows, a.batch, chance):
            ids, mask, labels = padded([rows[i] for i in part], pad)
            hidden = (torch.rand(ids.shape) < a.unknown) & (labels != IGNORED)
            logits = model(input_ids=ids.masked_fill(hidden, unknown), attention_mask=mask).logits
            loss = torch.nn.functional.cross_entropy(
                logits.flatten(0, 1), labels.flatten(), weight=weights, ignore_index=IGNORED
            )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]], 1.0)
            optimizer.step()
            schedule.step()
            total += loss.item() * len(part)
        found = judge(model)
        f1 = found["all"]["f1"]
        print(
            f"epoch {epoch}: loss {total / len(rows):.4f}, dev F1 {f1:.4f}, person {found['person']['f1']:.4f}, "
            f"{time.monotonic() - began:.0f} s",
            flush=True,
        )
        if f1 > best[0]:
            best = (f1, epoch, {name: t.detach().clone() for name, t in model.state_dict().items()})
    model.load_state_dict(best[2])
    return best[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=3e-4, help="of the encoder")
    parser.add_argument("--head-rate", type=float, default=1e-3)
    parser.add_argument("--entity-weight", type=float, default=1.0, help="of a token of an entity against others")
    parser.add_argument("--unknown", type=float, default=0.1, help="share of tokens that are hidden in training")
    parser.add_argument("--train-tables", action="store_true", help="train the embeddings' tables, too")
    parser.add_argument("--seed", type=int, default=17)
    a = parser.parse_args()

    torch.manual_seed(a.seed)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    tokenizer = Tokenizer.from_file(str(a.checkpoint / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    pad, unknown = tokenizer.token_to_id("[PAD]"), tokenizer.token_to_id("[UNK]")
    texts = {name: read(a.data / f"{name}.conll") for name in ("train", "dev", "test")}
    rows = {name: encode(tokenizer, sentences) for name, sentences in texts.items()}

    model = SqueezeBertForTokenClassification.from_pretrained(
        a.checkpoint,
        id2label=dict(enumerate(LABELS)),
        label2id=INDEX,
        problem_type=None,
        ignore_mismatched_sizes=True,
    )
    for name, parameter in model.named_parameters():
        if "_embeddings.weight" in name:
            parameter.requires_grad = a.train_tables

    def judged(name):
        return lambda model: figures([tags for _, tags in texts[name]], predict(model, rows[name], pad))

    epoch = train(model, rows["train"], a, pad, unknown, judged("dev"))
    found = {"epoch": epoch, "dev": judged("dev")(model), "test": judged("test")(model)}

    a.out.mkdir(parents=True, exist_ok=True)
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(a.out)
    state = {n: t.contiguous() for n, t in model.state_dict().items() if "pooler" not in n and "position_ids" not in n}
    save_file(dict(sorted(state.items())), a.out / "model.safetensors", metadata={"format": "pt"})
    for name in COPIED:
        shutil.copyfile(a.checkpoint / name, a.out / name)
    lines = [" ".join(words) for words, _ in texts["train"]]
    (a.out / "texts.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (a.out / "figures.json").write_text(json.dumps(found, indent=2) + "\n")
    for name in ("dev", "test"):
        print(f"\n{name}, epoch {epoch}\n{table(found[name])}")


if __name__ == "__main__":
    main()
