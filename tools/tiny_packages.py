#!/usr/bin/env python3
"""Tiny packages with random weights for the tests, and their golden results by transformers.

    python tools/tiny_packages.py      # writes tests/packages/tiny-*, tests/golden/tiny-*.jsonl

tiny-squeezebert goes through tools/convert.py; the others are torch.onnx's stock exports, as a user would bring them,
without a manifest. Biases and layer norms are random too, so that no error in them can hide.
"""
import collections
import json
import re
import shutil
import tempfile
from pathlib import Path

import onnx
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (BertConfig, BertForSequenceClassification, DistilBertConfig,
                          DistilBertForSequenceClassification, RobertaConfig, RobertaForSequenceClassification,
                          SqueezeBertConfig, SqueezeBertForSequenceClassification)

import golden
from convert import convert

PACKAGES = golden.ROOT / "tests" / "packages"
TEXTS = golden.texts()
LIMIT = 128
SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PIECES = "s ed ing ly er est y al ion tion ment ness able ful less en es ity ous ive".split()


def wordpiece(size):
    """ASCII characters, common endings, the most frequent words of our own texts and other common words."""
    ascii_chars = [chr(c) for c in range(33, 127) if not chr(c).isupper()]
    vocabulary = SPECIALS + ascii_chars + ["##" + c for c in ascii_chars if c.isalnum()] + ["##" + p for p in PIECES]
    words = collections.Counter(re.findall("[a-z]{2,}", " ".join(t["text"] for t in TEXTS).lower()))
    frequent = sorted((w for w in words if len(w) < 20), key=lambda w: (-words[w], w))
    common = (golden.ROOT / "tools" / "common_words.txt").read_text().split()
    vocabulary = list(dict.fromkeys(vocabulary + frequent + common))[:size]
    assert len(vocabulary) == size, len(vocabulary)
    tokenizer = Tokenizer(models.WordPiece({w: i for i, w in enumerate(vocabulary)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    tokenizer.add_special_tokens(SPECIALS)
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": LIMIT, "pad_token": "[PAD]",
                "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
    return tokenizer, settings


def byte_level_bpe(size):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    specials = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer.train_from_iterator([t["text"] for t in TEXTS if t["text"].isascii()], trainers.BpeTrainer(
        vocab_size=size, special_tokens=specials, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False))
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": LIMIT, "pad_token": "<pad>",
                "unk_token": "<unk>", "cls_token": "<s>", "sep_token": "</s>", "mask_token": "<mask>",
                "bos_token": "<s>", "eos_token": "</s>"}
    return tokenizer, settings


def randomise(model, tokenizer, seed):
    """Random weights that make texts differ: wide enough to matter, layer norms near 1, biases away from 0."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            noise = torch.randn(parameter.shape, generator=generator)
            if name.endswith("bias"):
                parameter.copy_(0.1 * noise)
            elif "norm" in name.lower():
                parameter.copy_(1 + 0.2 * noise)
            elif "embeddings" in name:
                parameter.copy_(noise)
            else:
                spread = 4.0 if name.startswith("classifier") else 1.2
                parameter.copy_(spread * noise / parameter.shape[1] ** 0.5)
        # Centre the logits over the texts, so that every label occurs.
        tokenizer.enable_truncation(LIMIT)
        ids = [torch.tensor([tokenizer.encode(t["text"]).ids]) for t in TEXTS]
        tokenizer.no_truncation()
        last = getattr(model.classifier, "out_proj", model.classifier)
        last.bias -= torch.cat([model.eval()(i).logits for i in ids]).mean(0).round(decimals=2)
    return model


def save(folder, model, tokenizer, settings):
    folder.mkdir(parents=True)
    model.config.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")


def export(model, path, names):
    """torch.onnx's stock export, less the stack traces (and paths of this machine) that it writes into every node."""
    path.parent.mkdir(exist_ok=True)
    sample = {name: torch.ones(2, 16, dtype=torch.int64) for name in names}
    batch, sequence = torch.export.Dim("batch"), torch.export.Dim("sequence", max=LIMIT)
    program = torch.onnx.export(model, kwargs=sample, input_names=list(names), output_names=["logits"], dynamo=True,
                                dynamic_shapes={name: {0: batch, 1: sequence} for name in names}, verbose=False)
    proto = program.model_proto
    for part in (proto, proto.graph, *proto.graph.node, *proto.graph.value_info, *proto.graph.initializer,
                 *proto.graph.input, *proto.graph.output):
        del part.metadata_props[:]
        part.doc_string = ""
    onnx.checker.check_model(proto)
    path.write_bytes(proto.SerializeToString(deterministic=True))


def check(name, model, onnx_file, tokenizer_folder):
    tokenizer = golden.load_tokenizer(tokenizer_folder)
    rows = golden.write(golden.GOLDEN / f"{name}.jsonl", model, tokenizer, TEXTS[::4])
    golden.compare(onnx_file, tokenizer, rows)
    size = sum(f.stat().st_size for f in tokenizer_folder.rglob("*") if f.is_file())
    print(f"{name}: {size} bytes")
    assert size < 300_000


def labels(*names):
    return {"id2label": dict(enumerate(names)), "label2id": {n: i for i, n in enumerate(names)}}


def squeezebert_config():
    return SqueezeBertConfig(
        vocab_size=1000, embedding_size=32, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=64, max_position_embeddings=LIMIT, q_groups=4, k_groups=4, v_groups=4,
        post_attention_groups=1, intermediate_groups=4, output_groups=4,
        problem_type="single_label_classification", **labels("negative", "neutral", "positive"))


def squeezebert(folder):
    words = wordpiece(1000)
    model = randomise(SqueezeBertForSequenceClassification(squeezebert_config()), words[0], seed=1)
    golden.round_as_packaged(model)
    with tempfile.TemporaryDirectory() as scratch:
        checkpoint = Path(scratch) / "checkpoint"
        save(checkpoint, model, *words)
        model.save_pretrained(checkpoint)
        convert(checkpoint, folder, folder.name, "1.0.0")
    check(folder.name, model, folder / "model.onnx", folder)


def bert(folder):
    words = wordpiece(800)
    model = randomise(BertForSequenceClassification(BertConfig(
        vocab_size=800, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=LIMIT, problem_type="multi_label_classification",
        **labels("billing", "delivery", "login", "praise", "bug"))), words[0], seed=2)
    save(folder, model, *words)
    export(model, folder / "onnx" / "model.onnx", ["input_ids", "attention_mask", "token_type_ids"])
    check(folder.name, model, folder / "onnx" / "model.onnx", folder)


def distilbert(folder):
    words = wordpiece(800)
    model = randomise(DistilBertForSequenceClassification(DistilBertConfig(
        vocab_size=800, dim=32, n_layers=2, n_heads=4, hidden_dim=64, max_position_embeddings=LIMIT,
        problem_type="single_label_classification", **labels("NEGATIVE", "POSITIVE"))), words[0], seed=3)
    save(folder, model, *words)
    export(model, folder / "model.onnx", ["input_ids", "attention_mask"])
    check(folder.name, model, folder / "model.onnx", folder)


def roberta(folder):
    # Positions start at pad_token_id + 1 = 2: two more than the tokens that fit, as in roberta-base's 514 for 512.
    words = byte_level_bpe(600)
    model = randomise(RobertaForSequenceClassification(RobertaConfig(
        vocab_size=600, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=LIMIT + 2, type_vocab_size=1, pad_token_id=1, bos_token_id=0, eos_token_id=2,
        **labels("no", "yes", "maybe"))), words[0], seed=4)
    save(folder, model, *words)
    export(model, folder / "model.onnx", ["input_ids", "attention_mask"])
    check(folder.name, model, folder / "model.onnx", folder)


if __name__ == "__main__":
    for make in (squeezebert, bert, distilbert, roberta):
        target = PACKAGES / f"tiny-{make.__name__}"
        shutil.rmtree(target, ignore_errors=True)
        make(target)
