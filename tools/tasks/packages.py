#!/usr/bin/env python3
"""Packages with random weights for every task, in the Hugging Face layout.

    python tools/tasks/packages.py      # tests/packages/tasks/*, tests/checkpoints/tasks/*

Models of one family share tokenizer and encoder weights to the bit; only heads differ. Biases and layer norms are
random too, so that no error in them can hide. Each ONNX file is held against PyTorch with onnxruntime: alone and in
batches.
"""
import inspect
import json
import os
import shutil
import sys
import zlib

import numpy as np
import onnx
import onnxruntime
import torch
import transformers
from transformers import AutoTokenizer

import common
import vocabularies

TOLERANCE = 1e-4
BIO = [f"{place}-{kind}" for kind in ("PER", "LOC", "ORG", "MISC") for place in "BI"]
TOPICS = [f"{a}/{b}" for a in "billing delivery login praise bug refund outage account order card phone tax legal spam "
          "other".split() for b in "new open urgent closed again late wrong lost first last".split()]


def squeezebert(groups, hidden, heads, inner, **more):
    return dict(embedding_size=hidden, hidden_size=hidden, num_attention_heads=heads, intermediate_size=inner,
                post_attention_groups=1, **{f"{part}_groups": groups for part in
                                            ("q", "k", "v", "intermediate", "output")}, **more)


# Family: transformers' prefix, sizes, tokenizer. Widths are no multiples of 64, nor of a vector register.
FAMILIES = {
    "squeezebert-g4": ("SqueezeBert", squeezebert(4, 24, 3, 44), vocabularies.wordpiece(420, 64, cased=False)),
    "squeezebert-g2": ("SqueezeBert", squeezebert(2, 22, 2, 46), vocabularies.wordpiece(470, 56, cased=True)),
    "squeezebert-g1": ("SqueezeBert", squeezebert(1, 21, 3, 33), vocabularies.wordpiece(420, 48, cased=False)),
    "bert": ("Bert", dict(hidden_size=30, num_attention_heads=2, intermediate_size=42),
             vocabularies.wordpiece(470, 60, cased=True)),
    "minilm": ("Bert", dict(hidden_size=28, num_attention_heads=4, intermediate_size=40),
               vocabularies.wordpiece(420, 64, cased=False)),
    "distilbert": ("DistilBert", dict(dim=20, n_layers=2, n_heads=2, hidden_dim=44),
                   vocabularies.wordpiece(420, 52, cased=False, inputs=("input_ids", "attention_mask"))),
    # Positions start at pad_token_id + 1 = 2.
    "roberta": ("Roberta", dict(hidden_size=26, num_attention_heads=2, intermediate_size=38, type_vocab_size=1,
                                pad_token_id=1, bos_token_id=0, eos_token_id=2),
                vocabularies.roberta(400, 62)),
    # The second of the two layers looks 8 tokens far.
    "modernbert": ("ModernBert", dict(hidden_size=24, num_attention_heads=2, intermediate_size=36, local_attention=16,
                                      global_attn_every_n_layers=2, pad_token_id=0, bos_token_id=None,
                                      eos_token_id=None, cls_token_id=2, sep_token_id=3,
                                      attn_implementation="eager"),
                   vocabularies.modernbert(400, 64)),
}
SEQUENCE, TOKENS, ANSWERS, ENCODER = ("ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering",
                                      "Model")
SINGLE, MULTI, REGRESSION = "single_label_classification", "multi_label_classification", "regression"
# Package: head, problem type, labels.
PACKAGES = {
    "squeezebert-g4-sentiment": (SEQUENCE, SINGLE, ["negative", "neutral", "positive"]),
    "squeezebert-g4-entities": (TOKENS, None, ["O", *BIO]),
    "squeezebert-g4-encoder": (ENCODER, None, None),
    "squeezebert-g4-answers": (ANSWERS, None, None),
    "squeezebert-g4-nli": (SEQUENCE, SINGLE, ["contradiction", "neutral", "entailment"]),
    "squeezebert-g2-topics": (SEQUENCE, SINGLE, TOPICS),
    "squeezebert-g2-tags": (SEQUENCE, MULTI, ["billing", "delivery", "login", "praise", "bug"]),
    "squeezebert-g2-names": (TOKENS, None, ["O", "PER"]),
    "squeezebert-g1-score": (SEQUENCE, REGRESSION, ["score"]),
    "squeezebert-g1-nli": (SEQUENCE, SINGLE, ["ENTAILMENT", "NEUTRAL", "CONTRADICTION"]),
    "bert-entities": (TOKENS, None, [*BIO[::-1], "O"]),
    "bert-nli": (SEQUENCE, SINGLE, ["neutral", "contradiction", "entailment"]),
    "bert-answers": (ANSWERS, None, None),
    "bert-flag": (SEQUENCE, None, ["spam"]),
    "minilm-encoder": (ENCODER, None, None),
    "distilbert-tags": (SEQUENCE, MULTI, ["billing", "delivery", "login", "praise", "bug"]),
    "distilbert-answers": (ANSWERS, None, None),
    "roberta-entities": (TOKENS, None, ["O", *BIO[:4]]),
    "roberta-nli": (SEQUENCE, SINGLE, ["entailment", "not_entailment"]),
    "roberta-answers": (ANSWERS, None, None),
    # Labels with and without BIO; hyphens of their own.
    "modernbert-entities": (TOKENS, None, ["O", "PER", "B-job-title", "I-job-title", "date-time"]),
    "modernbert-encoder": (ENCODER, None, None),
    "modernbert-sentiment": (SEQUENCE, SINGLE, ["negative", "neutral", "positive"]),
}
OUTPUTS = {SEQUENCE: ["logits"], TOKENS: ["logits"], ANSWERS: ["start_logits", "end_logits"],
           ENCODER: ["last_hidden_state"]}


def family_of(name):
    return next(family for family in FAMILIES if name.startswith(family + "-"))


def build(name):
    """A model of the package, in the layout of its family, with transformers' own fresh weights."""
    prefix, sizes, (tokenizer, settings) = FAMILIES[family_of(name)]
    head, problem, labels = PACKAGES[name]
    limit = settings["model_max_length"]
    depth = {} if prefix == "DistilBert" else {"num_hidden_layers": 2}
    named = {} if labels is None else {"id2label": dict(enumerate(labels)),
                                       "label2id": {label: i for i, label in enumerate(labels)}}
    config = getattr(transformers, f"{prefix}Config")(
        vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=limit + (2 if prefix == "Roberta" else 0),
        problem_type=problem, **sizes, **depth, **named)
    return getattr(transformers, prefix + head)(config).eval()


def randomise(model, family, name):
    """By parameter, so that a family's encoder is the same under every head."""
    encoder = {id(parameter): key for key, parameter in model.base_model.named_parameters()}
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            inner = encoder.get(id(parameter))
            seed = f"{family} {inner}" if inner else f"{name} {key}"
            noise = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(zlib.crc32(seed.encode())))
            if key.endswith("bias"):
                parameter.copy_(0.1 * noise)
            elif "norm" in key.lower():
                parameter.copy_(1 + 0.2 * noise)
            elif "embeddings" in key:
                parameter.copy_(noise)
            else:
                spread = 4.0 if key.startswith("qa_outputs") else 2.5 if key.startswith("classifier") else 1.2
                parameter.copy_(spread * noise / parameter.shape[1] ** 0.5)


@torch.no_grad()
def balance(model, head, tokenizer):
    """Moves the last layer's bias, so that every label occurs; of tokens, somewhat less than half are O."""
    last = getattr(model, "qa_outputs", None) or getattr(model, "classifier", None)
    last = getattr(last, "out_proj", last)
    inputs = [tokenizer(text, truncation=True, return_tensors="pt") for text in common.single().values()]
    inputs = [i for i in inputs if i["input_ids"].shape[1] > 2]
    if head == SEQUENCE:
        last.bias -= torch.cat([model(**i).logits for i in inputs]).mean(0).round(decimals=2)
    elif head == TOKENS:
        # B- and I- of one kind go together more often than by chance.
        kinds = [last.weight[[i for i, l in model.config.id2label.items() if l.endswith(kind)]].mean(0)
                 for kind in map(lambda label: label[2:] or label, model.config.id2label.values())]
        last.weight += 0.8 * torch.stack(kinds)
        logits = torch.cat([model(**i).logits[0, 1:-1] for i in inputs])
        last.bias -= logits.mean(0).round(decimals=2)
        logits -= logits.mean(0)
        none = model.config.label2id["O"]
        others = logits[:, [i for i in range(logits.shape[1]) if i != none]].max(1).values
        last.bias[none] += (others - logits[:, none]).quantile(0.42).round(decimals=2)
    elif head == ANSWERS:
        # The first token stands for "no answer": lift it, until that is the best of four in ten.
        asked = [tokenizer("Where does Maria work?", text, truncation="only_second", return_tensors="pt")
                 for text in common.single().values() if text.strip()]
        hidden = [model.base_model(**i).last_hidden_state[0] for i in asked]
        context = [[place for place, of in enumerate(i.sequence_ids()) if of == 1] for i in asked]
        first = torch.stack([h[0] for h in hidden]).mean(0) - torch.cat([h[1:] for h in hidden]).mean(0)
        while np.mean([answers_nothing(last(h), c) for h, c in zip(hidden, context) if c]) < 0.4:
            last.weight += 0.2 * first / first.dot(first)


def answers_nothing(logits, context):
    """Is the first token likelier, as start and end, than every span of at most 15 tokens of the context?"""
    spans = logits[context, :1] + logits[context, 1]
    allowed = torch.ones_like(spans, dtype=torch.bool).triu().tril(14)
    return bool(logits[0].sum() > spans[allowed].max())


class Named(torch.nn.Module):
    """Only the outputs that Optimum would export, in its order."""

    def __init__(self, model, outputs, inputs):
        super().__init__()
        self.model, self.outputs = model, outputs
        parameter = inspect.Parameter
        self.__signature__ = inspect.Signature([parameter(i, parameter.POSITIONAL_OR_KEYWORD) for i in inputs])


class ThreeInputs(Named):
    def forward(self, input_ids, attention_mask, token_type_ids):
        got = self.model(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)
        return tuple(got[name] for name in self.outputs)


class TwoInputs(Named):
    def forward(self, input_ids, attention_mask):
        got = self.model(input_ids=input_ids, attention_mask=attention_mask)
        return tuple(got[name] for name in self.outputs)


def export(model, path, inputs, outputs, limit):
    """torch.onnx's export, less the stack traces (and paths of this machine) that it writes into every node."""
    inputs = [name for name in ("input_ids", "attention_mask", "token_type_ids") if name in inputs]
    wrapped = (ThreeInputs if len(inputs) == 3 else TwoInputs)(model, outputs, inputs)
    sample = {name: torch.ones(2, 16, dtype=torch.int64) for name in inputs}
    batch, sequence = torch.export.Dim("batch"), torch.export.Dim("sequence", max=limit)
    program = torch.onnx.export(wrapped, kwargs=sample, input_names=inputs, output_names=outputs, dynamo=True,
                                dynamic_shapes={name: {0: batch, 1: sequence} for name in inputs}, verbose=False)
    proto = program.model_proto
    for part in (proto, proto.graph, *proto.graph.node, *proto.graph.initializer, *proto.graph.input,
                 *proto.graph.output):
        del part.metadata_props[:]
        part.doc_string = ""
    # Shapes of what lies between: onnxruntime finds them itself.
    del proto.graph.value_info[:]
    onnx.checker.check_model(proto)
    path.write_bytes(proto.SerializeToString(deterministic=True))


@torch.no_grad()
def compare(model, path, tokenizer, outputs):
    """The largest difference between onnxruntime and PyTorch in any output of a token that is there."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [o.name for o in session.get_outputs()] == outputs
    texts, worst = [t for t in common.single().values() if t.strip()], 0.0
    for size in (1, 7):
        for start in range(0, len(texts), size):
            inputs = tokenizer(texts[start:start + size], truncation=True, padding=True, return_tensors="pt")
            got = session.run(outputs, {i.name: inputs[i.name].numpy() for i in session.get_inputs()})
            wanted = model(**inputs)
            for name, array in zip(outputs, got):
                off = np.abs(array - wanted[name].numpy())
                mask = inputs["attention_mask"].numpy().astype(bool)
                worst = max(worst, float((off if array.shape[:2] != mask.shape else off[mask]).max()))
    assert worst < TOLERANCE, f"{path}: {worst}"
    return worst


def make(name):
    family, (head, _, _) = family_of(name), PACKAGES[name]
    _, _, (tokenizer, settings) = FAMILIES[family]
    model = build(name)
    randomise(model, family, name)
    whole = common.WHOLE / name
    tokenizer.save(str(whole / "tokenizer.json"), pretty=False)
    (whole / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")
    words = AutoTokenizer.from_pretrained(whole, split_special_tokens=True)
    if head != ENCODER:
        balance(model, head, words)
    model.save_pretrained(whole)

    files = ["config.json", "tokenizer.json", "tokenizer_config.json"]
    package = common.PACKAGES / name
    package.mkdir(parents=True)
    for file in files:
        shutil.copyfile(whole / file, package / file)
    if name == "minilm-encoder":
        modules(package)
    export(model, package / "model.onnx", settings["model_input_names"], OUTPUTS[head], settings["model_max_length"])
    worst = compare(model, package / "model.onnx", words, OUTPUTS[head])
    if family.startswith("squeezebert"):
        checkpoint = common.CHECKPOINTS / name
        checkpoint.mkdir(parents=True)
        for file in [*files, "model.safetensors"]:
            shutil.copyfile(whole / file, checkpoint / file)
    size = sum(f.stat().st_size for f in package.rglob("*") if f.is_file())
    print(f"{name}: {size} bytes, ONNX and PyTorch differ by {worst:.1e} at most", flush=True)


def modules(package):
    """What sentence-transformers writes beside a model: which pooling it was trained with."""
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    listed = [{"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
              for i, (path, kind) in enumerate(kinds)]
    (package / "modules.json").write_text(json.dumps(listed, indent=2) + "\n")
    (package / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": 28} | {
        f"pooling_mode_{mode}": mode == "mean_tokens" for mode in ("cls_token", "mean_tokens", "max_tokens")}
    (package / "1_Pooling" / "config.json").write_text(json.dumps(pooling, indent=2) + "\n")


if __name__ == "__main__":
    # transformers' ModernBERT walks over a set of strings, so its graph depends on their hashes.
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | {"PYTHONHASHSEED": "0"})
    torch.set_num_threads(1)
    for folder in (common.WHOLE, common.PACKAGES, common.CHECKPOINTS):
        shutil.rmtree(folder, ignore_errors=True)
    for package in PACKAGES:
        (common.WHOLE / package).mkdir(parents=True)
        make(package)
