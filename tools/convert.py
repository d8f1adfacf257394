#!/usr/bin/env python3
"""SqueezeBERT checkpoint (Hugging Face layout) -> ONNX package: a plain padded graph, fp32 arithmetic, fp16 weights.

    python tools/convert.py CHECKPOINT OUT --name sentiment --version 1.0.0 \
        --card tools/cards/sentiment.md --evaluate sst2/dev.tsv

The graph is written by hand from the weights, in the shape of transformers' `modeling_squeezebert.py`, with these
differences that leave the numbers alone:

* channels last: a 1x1 convolution with G groups is G products `[tokens, in/G] x [in/G, out/G]` with 2-D weights;
* the last layer works on token 0 only (its keys and values still see every token), all a classifier needs;
* padding is masked by adding -1e9 before the softmax, which makes its share exactly 0 in fp32.

The same input gives the same bytes, run after run.
"""
import argparse
import csv
import hashlib
import json
import math
import shutil
import string
from pathlib import Path

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper
from safetensors.numpy import load_file

MASKED = -1e9
# transformers gives config.layer_norm_eps to the embeddings only; the layers keep SqueezeBertLayerNorm's default.
LAYER_EPS = 1e-12
COPIED = ("config.json", "tokenizer.json", "tokenizer_config.json")


def stored_as_half(name):
    """Which weights of the checkpoint are rounded to fp16: all but the biases and the layer norms."""
    return name.endswith(".weight") and "layernorm" not in name.lower()


class Graph:
    """Collects nodes and initializers; every operator method returns the name of its output."""

    def __init__(self):
        self.nodes, self.initializers, self.known = [], [], {}

    def op(self, kind, *inputs, outputs=1, **attributes):
        names = [f"{kind}_{len(self.nodes)}" + (f"_{i}" if i else "") for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, name=names[0], **attributes))
        return names[0] if outputs == 1 else names

    def constant(self, name, array):
        if name not in self.known:
            self.known[name] = name
            self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def ints(self, *values):
        return self.constant("ints_" + "_".join(map(str, values)), np.array(values, np.int64))

    def scalar(self, value):
        return self.constant(f"scalar_{value!r}", np.array(value, np.float32))

    def half(self, name, array):
        """An fp16 initializer, cast to fp32 in the graph (ONNX Runtime folds the cast when it loads)."""
        largest = np.abs(array).max(initial=0)
        if not largest <= np.finfo(np.float16).max:
            raise SystemExit(f"{name}: {largest} does not fit fp16")
        return self.op("Cast", self.constant(name, array.astype(np.float16)), to=TensorProto.FLOAT)


class SqueezeBert:
    def __init__(self, config, weights):
        if config.get("model_type") != "squeezebert" or "classifier.weight" not in weights:
            raise SystemExit("not a SqueezeBertForSequenceClassification checkpoint")
        if config["embedding_size"] != config["hidden_size"]:
            raise SystemExit("embedding_size must equal hidden_size")
        self.config, self.weights, self.graph = config, weights, Graph()
        self.splits = {}

    def weight(self, name):
        return self.weights[name].astype(np.float32)

    def layer_norm(self, x, name, eps):
        g = self.graph
        scale, bias = (g.constant(f"{name}.{p}", self.weight(f"{name}.{p}")) for p in ("weight", "bias"))
        return g.op("LayerNormalization", x, scale, bias, axis=-1, epsilon=eps)

    def linear(self, x, name, groups=1):
        """A dense layer `[out, in]` or a 1x1 convolution `[out, in/groups, 1]`."""
        g, w = self.graph, self.weight(f"{name}.weight")
        bias = g.constant(f"{name}.bias", self.weight(f"{name}.bias"))
        blocks = np.split(w.reshape(w.shape[0], w.shape[1]), groups)
        if groups == 1:
            y = g.op("MatMul", x, g.half(f"{name}.weight", blocks[0].T))
        else:
            if (x, groups) not in self.splits:
                self.splits[x, groups] = g.op("Split", x, outputs=groups, axis=-1)
            parts = zip(self.splits[x, groups], blocks)
            products = [g.op("MatMul", p, g.half(f"{name}.weight.{i}", b.T)) for i, (p, b) in enumerate(parts)]
            y = g.op("Concat", *products, axis=-1)
        return g.op("Add", y, bias)

    def activation(self, x):
        g, kind = self.graph, self.config["hidden_act"]
        if kind == "relu":
            return g.op("Relu", x)
        if kind != "gelu":
            raise SystemExit(f"hidden_act {kind!r} is not supported")
        erf = g.op("Erf", g.op("Div", x, g.scalar(math.sqrt(2.0))))
        return g.op("Mul", g.op("Mul", x, g.op("Add", erf, g.scalar(1.0))), g.scalar(0.5))

    def embeddings(self):
        g, name = self.graph, "transformer.embeddings"
        table = lambda part: self.weight(f"{name}.{part}_embeddings.weight")
        # The big table stays fp16 in memory: gather first, cast the few rows.
        words = g.constant(f"{name}.word_embeddings.weight", table("word").astype(np.float16))
        words = g.op("Cast", g.op("Gather", words, "input_ids"), to=TensorProto.FLOAT)
        length = g.op("Slice", g.op("Shape", "input_ids"), g.ints(1), g.ints(2))
        positions = g.op("Slice", g.half(f"{name}.position_embeddings.weight", table("position")), g.ints(0), length)
        types = g.op("Gather", g.half(f"{name}.token_type_embeddings.weight", table("token_type")), "token_type_ids")
        total = g.op("Add", g.op("Add", words, positions), types)
        return self.layer_norm(total, f"{name}.LayerNorm", self.config["layer_norm_eps"])

    def mask(self):
        g = self.graph
        padding = g.op("Sub", g.scalar(1.0), g.op("Cast", "attention_mask", to=TensorProto.FLOAT))
        return g.op("Mul", g.op("Unsqueeze", padding, g.ints(1, 2)), g.scalar(MASKED))

    def attention(self, rows, x, mask, name):
        """Rows attend to x; for the last layer `rows` is token 0, elsewhere x itself."""
        g, c = self.graph, self.config
        heads, size = c["num_attention_heads"], c["hidden_size"] // c["num_attention_heads"]

        def projected(source, part, order):
            y = self.linear(source, f"{name}.{part}", c[f"{part[0]}_groups"])
            return g.op("Transpose", g.op("Reshape", y, g.ints(0, 0, heads, size)), perm=order)

        query = projected(rows, "query", [0, 2, 1, 3])
        key = projected(x, "key", [0, 2, 3, 1])
        value = projected(x, "value", [0, 2, 1, 3])
        scores = g.op("Div", g.op("MatMul", query, key), g.scalar(math.sqrt(size)))
        shares = g.op("Softmax", g.op("Add", scores, mask), axis=-1)
        context = g.op("Transpose", g.op("MatMul", shares, value), perm=[0, 2, 1, 3])
        return g.op("Reshape", context, g.ints(0, 0, c["hidden_size"]))

    def layer(self, rows, x, mask, name):
        g, c = self.graph, self.config
        context = self.attention(rows, x, mask, f"{name}.attention")
        y = self.linear(context, f"{name}.post_attention.conv1d", c["post_attention_groups"])
        x = self.layer_norm(g.op("Add", y, rows), f"{name}.post_attention.layernorm", LAYER_EPS)
        y = self.activation(self.linear(x, f"{name}.intermediate.conv1d", c["intermediate_groups"]))
        y = self.linear(y, f"{name}.output.conv1d", c["output_groups"])
        return self.layer_norm(g.op("Add", y, x), f"{name}.output.layernorm", LAYER_EPS)

    def build(self):
        g, layers = self.graph, self.config["num_hidden_layers"]
        mask, x = self.mask(), self.embeddings()
        for n in range(layers):
            last = n + 1 == layers
            rows = g.op("Slice", x, g.ints(0), g.ints(1), g.ints(1)) if last else x
            x = self.layer(rows, x, mask, f"transformer.encoder.layers.{n}")
        first = g.op("Squeeze", x, g.ints(1))
        pooled = g.op("Tanh", self.linear(first, "transformer.pooler.dense"))
        g.nodes.append(helper.make_node("Identity", [self.linear(pooled, "classifier")], ["logits"], name="logits"))
        labels = self.weights["classifier.weight"].shape[0]
        tensor = helper.make_tensor_value_info
        inputs = [tensor(n, TensorProto.INT64, ["batch", "sequence"])
                  for n in ("input_ids", "attention_mask", "token_type_ids")]
        graph = helper.make_graph(g.nodes, "squeezebert", inputs,
                                  [tensor("logits", TensorProto.FLOAT, ["batch", labels])], g.initializers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8,
                                  producer_name="squeezeflow tools/convert.py")
        checker.check_model(model, full_check=True)
        return model


def run(session, encodings):
    """Pads encodings of the `tokenizers` crate to one batch and returns the logits."""
    width = max(len(e.ids) for e in encodings)
    pad = lambda rows: np.array([r + [0] * (width - len(r)) for r in rows], np.int64)
    feeds = {"input_ids": pad([e.ids for e in encodings]),
             "attention_mask": pad([e.attention_mask for e in encodings]),
             "token_type_ids": pad([e.type_ids for e in encodings])}
    return session.run(["logits"], feeds)[0]


def evaluate(out, tsv):
    """Accuracy over a TSV of `sentence, label`; padding must not move any logit."""
    import onnxruntime
    from tokenizers import Tokenizer

    with open(tsv, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    tokenizer = Tokenizer.from_file(str(out / "tokenizer.json"))
    encodings = tokenizer.encode_batch([r["sentence"] for r in rows])
    session = onnxruntime.InferenceSession(out / "model.onnx", providers=["CPUExecutionProvider"])
    batched = np.concatenate([run(session, encodings[i:i + 32]) for i in range(0, len(rows), 32)])
    alone = np.concatenate([run(session, [e]) for e in encodings])
    moved = float(np.abs(batched - alone).max())
    if moved > 1e-5:
        raise SystemExit(f"padding moves logits by {moved}")
    correct = int((alone.argmax(1) == np.array([int(r["label"]) for r in rows])).sum())
    print(f"{correct} of {len(rows)} correct; padding moves logits by at most {moved:.2g}")
    return {"dataset": "SST-2 dev", "examples": len(rows), "correct": correct,
            "accuracy": round(correct / len(rows), 4)}


def convert(checkpoint, out, name, version, card=None, evaluation_tsv=None):
    checkpoint, out = Path(checkpoint), Path(out)
    out.mkdir(parents=True, exist_ok=True)
    for file in COPIED:
        shutil.copyfile(checkpoint / file, out / file)
    config = json.loads((checkpoint / "config.json").read_text())
    model = SqueezeBert(config, load_file(checkpoint / "model.safetensors")).build()
    (out / "model.onnx").write_bytes(model.SerializeToString(deterministic=True))

    manifest = {"name": name, "version": version, "precision": "fp32", "weights": "fp16", "batch_invariant": True}
    if evaluation_tsv:
        manifest["evaluation"] = evaluate(out, evaluation_tsv)
    files = [*COPIED, "model.onnx"]
    if card:
        text = string.Template(Path(card).read_text(encoding="utf-8"))
        (out / "README.md").write_text(text.substitute(manifest.get("evaluation", {}), version=version),
                                       encoding="utf-8")
        files.append("README.md")
    manifest["files"] = {f: hashlib.sha256((out / f).read_bytes()).hexdigest() for f in sorted(files)}
    (out / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint")
    parser.add_argument("out")
    parser.add_argument("--name", required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--card", help="template of the model card, with $correct, $examples, $accuracy, $version")
    parser.add_argument("--evaluate", metavar="TSV", help="SST-2 dev set")
    a = parser.parse_args()
    convert(a.checkpoint, a.out, a.name, a.version, a.card, a.evaluate)
