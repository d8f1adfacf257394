#!/usr/bin/env python3
"""torch.onnx's stock export of tests/packages/tiny-squeezebert's model, as users of SqueezeBERT run it.

    python tools/stock_squeezebert.py      # writes tests/golden/stock-squeezebert.onnx

The builder of the same graph in benches/stock is held to it (tests/stock.rs); so the benches need no Python.
"""
import golden
import tiny_packages as tiny
from transformers import SqueezeBertForSequenceClassification

words = tiny.wordpiece(1000)
model = tiny.randomise(SqueezeBertForSequenceClassification(tiny.squeezebert_config()), words[0], seed=1)
golden.round_as_packaged(model)
tiny.export(model, golden.GOLDEN / "stock-squeezebert.onnx", ["input_ids", "attention_mask", "token_type_ids"])
