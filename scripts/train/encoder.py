#!/usr/bin/env python3
"""The checkpoint of models/encoder, without a head, and how well it finds the nearest of a few examples.

    python scripts/train/encoder.py checkpoint CHECKPOINT OUT
    python scripts/train/encoder.py measure CHECKPOINT BANKING77

`checkpoint` copies the checkpoint that models/sentiment was made of and names no head and no labels: the weights stay
byte for byte, so that graphs of both share them. `measure` embeds train.csv and test.csv (`text,category`) in fp32,
draws so many examples of each intent from train.csv, and counts the texts of test.csv whose intent is that of the
nearest example (nearest), of the highest mean of cosines (mean), or of the nearest mean of embeddings (centroid).
"""
import argparse
import csv
import json
import random
import shutil
from pathlib import Path

COPIED = ("model.safetensors", "tokenizer.json", "tokenizer_config.json")
OF_A_HEAD = ("id2label", "label2id", "problem_type")


def headless(checkpoint, out):
    config = json.loads((checkpoint / "config.json").read_text())
    config = {key: value for key, value in config.items() if key not in OF_A_HEAD}
    config["architectures"] = ["SqueezeBertModel"]
    out.mkdir(parents=True, exist_ok=True)
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    for name in COPIED:
        shutil.copyfile(checkpoint / name, out / name)


def read(path):
    with open(path, encoding="utf-8", newline="") as lines:
        return [(row["text"], row["category"]) for row in csv.DictReader(lines)]


def embedded(model, tokenizer, texts):
    """Normalised, `[texts, hidden]`, by pooling. Special tokens are pooled with the others, as a worker does."""
    import torch

    rows = [tokenizer.encode(text).ids for text in texts]
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    pooled = {name: [None] * len(rows) for name in ("mean", "cls", "max")}
    with torch.inference_mode():
        for at in range(0, len(order), 32):
            part = order[at : at + 32]
            width = max(len(rows[i]) for i in part)
            ids = torch.tensor([rows[i] + [0] * (width - len(rows[i])) for i in part])
            mask = torch.tensor([[1] * len(rows[i]) + [0] * (width - len(rows[i])) for i in part])
            hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state
            seen = mask[:, :, None]
            found = {
                "mean": (hidden * seen).sum(1) / seen.sum(1),
                "cls": hidden[:, 0],
                "max": hidden.masked_fill(seen == 0, float("-inf")).amax(1),
            }
            for name, vectors in found.items():
                for i, vector in zip(part, torch.nn.functional.normalize(vectors, dim=1)):
                    pooled[name][i] = vector
    return {name: torch.stack(vectors) for name, vectors in pooled.items()}


def measure(checkpoint, data, layers, examples, draws):
    import torch
    from tokenizers import Tokenizer
    from transformers import SqueezeBertModel

    torch.set_num_threads(1)
    tokenizer = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
    less = {} if layers is None else {"num_hidden_layers": layers}
    model = SqueezeBertModel.from_pretrained(checkpoint, **less).eval()
    train, test = read(data / "train.csv"), read(data / "test.csv")
    names = sorted({category for _, category in train})
    of = [[i for i, (_, category) in enumerate(train) if category == name] for name in names]
    right = torch.tensor([names.index(category) for _, category in test])
    known, asked = (embedded(model, tokenizer, [text for text, _ in rows]) for rows in (train, test))

    print(f"{len(test)} texts, {len(names)} intents, {examples} examples each, {draws} draws: mean accuracy (deviation)")
    for pooling in known:
        accuracy = {"nearest": [], "mean": [], "centroid": []}
        for draw in range(draws):
            chance = random.Random(draw)
            # Draw 0 is the first of each intent, as a person would write down.
            chosen = [places[:examples] if draw == 0 else chance.sample(places, examples) for places in of]
            drawn = known[pooling][torch.tensor(chosen)]
            cosine = torch.einsum("td,led->tle", asked[pooling], drawn)
            centroid = torch.nn.functional.normalize(drawn.mean(1), dim=1)
            scores = {"nearest": cosine.amax(2), "mean": cosine.mean(2), "centroid": asked[pooling] @ centroid.T}
            for rule, score in scores.items():
                accuracy[rule].append((score.argmax(1) == right).double().mean().item())
        for rule, found in accuracy.items():
            found = torch.tensor(found)
            print(f"{pooling:4} {rule:8} {found.mean():.4f} ({found.std():.4f}), the first {examples}: {found[0]:.4f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("checkpoint")
    verb.add_argument("checkpoint", type=Path)
    verb.add_argument("out", type=Path)
    verb = verbs.add_parser("measure")
    verb.add_argument("checkpoint", type=Path)
    verb.add_argument("data", type=Path)
    verb.add_argument("--layers", type=int, help="the first so many only; 0: the embeddings")
    verb.add_argument("--examples", type=int, default=5)
    verb.add_argument("--draws", type=int, default=10)
    a = parser.parse_args()
    if a.verb == "checkpoint":
        headless(a.checkpoint, a.out)
    else:
        measure(a.checkpoint, a.data, a.layers, a.examples, a.draws)


if __name__ == "__main__":
    main()
