#!/usr/bin/env python3
"""Token lengths of data sets, special tokens included: numbers only, no text. For the benches.

    python tools/lengths.py TOKENIZER.json < TEXTS > LENGTHS      # a text a line

benches/lengths/sst2-dev.txt and banking77-test.txt were made with models/sentiment/tokenizer.json (that of
bert-base-uncased, as SqueezeBERT's), of SST-2's dev.tsv and banking77's test.csv, in their order.
"""
import sys

from tokenizers import Tokenizer

tokenizer = Tokenizer.from_file(sys.argv[1])
tokenizer.no_truncation()
tokenizer.no_padding()
lengths = [len(encoding.ids) for encoding in tokenizer.encode_batch(sys.stdin.read().splitlines())]
for start in range(0, len(lengths), 32):
    print(*lengths[start:start + 32])
