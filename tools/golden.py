#!/usr/bin/env python3
"""Golden results: what Hugging Face transformers makes of tests/golden/texts.jsonl, text by text, in fp32 on CPU.

    python tools/golden.py CHECKPOINT      # writes tests/golden/sentiment.jsonl, checks models/sentiment-portable against it

Texts are TEXT: the tokenizer runs with `split_special_tokens=True`, so "[SEP]" in a text becomes "[", "sep", "]" and
never the special token. Each line of a golden file:

    id, text                 from texts.jsonl
    token_count_seen         tokens of the whole text, special tokens included
    token_count_used         the same after truncation to the model's maximum length
    input_ids                the ids used, or, for more than 64 of them,
    input_ids_sha256         the SHA-256 of the ids as little-endian i64
    logits, scores, label    raw outputs; softmax (or sigmoid, multi-label) by label; the label with the best score
"""
import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from transformers import AutoModelForSequenceClassification, pipeline

from convert import stored_as_half
from tokens import load_tokenizer

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden"
SHOWN = 64


def texts():
    return [json.loads(line) for line in (GOLDEN / "texts.jsonl").read_text(encoding="utf-8").splitlines()]


def round_as_packaged(model):
    """Give the model the weights that tools/convert.py stores."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if stored_as_half(name):
                parameter.copy_(parameter.half().float())
    return model


def write(path, model, tokenizer, records):
    """Writes one golden line a text; the scores are checked against transformers' own pipeline."""
    model.eval()
    limit, labels = tokenizer.model_max_length, model.config.id2label
    multi = model.config.problem_type == "multi_label_classification"
    classify = pipeline("text-classification", model=model, tokenizer=tokenizer, top_k=None, device="cpu")
    rows = []
    for record in records:
        seen = len(tokenizer(record["text"], verbose=False)["input_ids"])
        inputs = tokenizer(record["text"], truncation=True, max_length=limit, return_tensors="pt")
        with torch.no_grad():
            logits = model(**inputs).logits[0]
        scores = torch.sigmoid(logits) if multi else torch.softmax(logits, -1)
        scores = {labels[i]: s for i, s in enumerate(scores.tolist())}
        for piped in classify([record["text"]], truncation=True, max_length=limit)[0]:
            assert abs(piped["score"] - scores[piped["label"]]) < 1e-6, record["id"]
        ids = inputs["input_ids"][0].tolist()
        row = {**record, "token_count_seen": seen, "token_count_used": len(ids)}
        if len(ids) <= SHOWN:
            row["input_ids"] = ids
        else:
            row["input_ids_sha256"] = hashlib.sha256(np.array(ids, "<i8").tobytes()).hexdigest()
        row |= {"logits": logits.tolist(), "scores": scores, "label": max(scores, key=scores.get)}
        rows.append(row)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return rows


def compare(onnx, tokenizer, rows, tolerance=1e-4):
    """The largest difference between the ONNX graph's logits and the golden ones, alone and in padded batches."""
    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    names = [i.name for i in session.get_inputs()]
    worst = 0.0
    for size in (1, 16):
        for start in range(0, len(rows), size):
            part = rows[start:start + size]
            inputs = tokenizer([r["text"] for r in part], truncation=True, max_length=tokenizer.model_max_length,
                               padding=True, return_tensors="np", return_token_type_ids=True)
            feeds = {name: inputs[name].astype(np.int64) for name in names}
            logits = session.run(["logits"], feeds)[0]
            worst = max(worst, float(np.abs(logits - np.array([r["logits"] for r in part])).max()))
    counts = {}
    for row in rows:
        counts[row["label"]] = counts.get(row["label"], 0) + 1
    print(f"{onnx}: largest difference of a logit {worst:.2g}; labels {counts}")
    assert worst < tolerance
    return worst


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", help="folder of the SqueezeBERT checkpoint")
    checkpoint = parser.parse_args().checkpoint
    bert = round_as_packaged(AutoModelForSequenceClassification.from_pretrained(checkpoint, dtype=torch.float32))
    words = load_tokenizer(ROOT / "models" / "sentiment")
    compare(ROOT / "models/sentiment-portable/model.onnx", words,
            write(GOLDEN / "sentiment.jsonl", bert, words, texts()))
