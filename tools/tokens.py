#!/usr/bin/env python3
"""Golden tokens: what Hugging Face transformers' tokenizers make of odd texts, and of every character. Without torch.

    python tools/tokens.py      # writes tests/golden/tokens.jsonl and tests/golden/characters.jsonl

Texts are TEXT: the tokenizers run with `split_special_tokens=True`, so "[SEP]" in a text becomes "[", "sep", "]" and
never the special token. `tokens.jsonl` has a line for each text of texts.jsonl and odd.jsonl, with for each package

    seen       tokens of the whole text, special tokens included
    used       the same after truncation to the package's maximum length
    ids        the ids used, or, for more than 16 of them,
    sha256     the SHA-256 of the ids as little-endian i64

`characters.jsonl` has a line for each 4096 code points of the planes that are in use, with for each package the SHA-256
of how many ids and which ids each text has (as little-endian i64), the texts being sixteen characters in turn, each
between an x and a y. Surrogates are no characters.
"""
import hashlib
import json
import struct
from pathlib import Path

from transformers import AutoTokenizer

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden"
PACKAGES = ["models/sentiment"] + [f"tests/packages/tiny-{n}" for n in ("squeezebert", "bert", "distilbert", "roberta")]
PLANES = [0, 1, 2, 3, 14, 15, 16]
BLOCK, TEXT, SHOWN = 4096, 16, 16


def read(name):
    return [json.loads(line) for line in (GOLDEN / name).read_text(encoding="utf-8").splitlines()]


def write(name, rows):
    (GOLDEN / name).write_text("".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows))


def load_tokenizer(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder, split_special_tokens=True)
    specials = set(tokenizer.all_special_ids)
    for token in tokenizer.all_special_tokens:
        ids = tokenizer(f"a {token} b", add_special_tokens=False)["input_ids"]
        # The unknown token itself may stand for a character that the vocabulary lacks.
        assert not specials & set(ids) - {tokenizer.unk_token_id}, f"{token} was not taken as text: {ids}"
        assert len(ids) > 3, f"{token} was not taken as text: {ids}"
    return tokenizer


def packed(numbers):
    return struct.pack(f"<{len(numbers)}q", *numbers)


def tokens(tokenizer, text):
    seen = len(tokenizer(text, verbose=False)["input_ids"])
    ids = tokenizer(text, truncation=True, max_length=tokenizer.model_max_length)["input_ids"]
    shown = {"ids": ids} if len(ids) <= SHOWN else {"sha256": hashlib.sha256(packed(ids)).hexdigest()}
    return {"seen": seen, "used": len(ids)} | shown


def character_texts(block):
    for start in range(block, block + BLOCK, TEXT):
        if not 0xD800 <= start < 0xE000:
            yield "".join(f"x{chr(c)}y " for c in range(start, start + TEXT))


def digest(tokenizer, block):
    sha = hashlib.sha256()
    for text in character_texts(block):
        ids = tokenizer(text)["input_ids"]
        assert len(ids) <= tokenizer.model_max_length, hex(block)
        sha.update(packed([len(ids), *ids]))
    return sha.hexdigest()


if __name__ == "__main__":
    all_of_them = {Path(package).name: load_tokenizer(ROOT / package) for package in PACKAGES}
    write("tokens.jsonl", [{"id": row["id"]} | {name: tokens(t, row["text"]) for name, t in all_of_them.items()}
                           for row in read("texts.jsonl") + read("odd.jsonl")])
    blocks = [block for plane in PLANES for block in range(plane << 16, (plane + 1) << 16, BLOCK)]
    write("characters.jsonl", [{"from": f"{block:06x}"} | {name: digest(t, block) for name, t in all_of_them.items()}
                               for block in blocks])
