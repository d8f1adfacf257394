#!/usr/bin/env python3
"""Hugging Face's own answers to the corpus, for every task but question answering (that is questions.py).

    python tools/tasks/answers.py      # after packages.py; tests/golden/tasks/*.jsonl

Each line: package, options as Hugging Face names them, input (an id of corpus.jsonl), and `answer`, or `raises` with
the name of the exception. tests/golden/tasks/README.md says what else may be there.
"""
import warnings

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from transformers import (AutoModelForSequenceClassification, AutoModelForTokenClassification, AutoTokenizer, logging,
                          pipeline)

import common

LABELS = ["politics", "travel", "work"]
ODD_LABELS = ["New York, Berlin", "café ☕", "{braces}", "work"]
STRATEGIES = ["none", "simple", "first", "average", "max"]
TOPICS_SHOWN = ["plain-01", "cjk-01", "emoji-01", "long-01", "empty-01"]


class Task:
    """A pipeline, and the same with a model that is off by roundings."""

    def __init__(self, task, model, words):
        self.pipes = [pipeline(task, model=m, tokenizer=words, device="cpu") for m in (model, common.shaken(model))]

    def answer(self, ask):
        """What `ask` makes of the pipeline."""
        one, other = (common.answer(lambda: ask(pipe)) for pipe in self.pipes)
        return one | common.close(one, other)


def load(name, kind):
    model = kind.from_pretrained(common.WHOLE / name).eval()
    return model, tokenizer(name)


def tokenizer(name):
    """Special tokens written in a text are text."""
    return AutoTokenizer.from_pretrained(common.WHOLE / name, split_special_tokens=True)


def nothing(words, text):
    """{"nothing": true} where the tokenizer keeps none of the text: the model then reads special tokens only."""
    kept = len(words(text, add_special_tokens=False, verbose=False)["input_ids"])
    return {} if kept else {"nothing": True}


def row(name, options, id, rest):
    return {"package": name, "options": options, "input": id} | rest


def text_classification():
    rows = []
    for name in ("squeezebert-g4-sentiment", "squeezebert-g2-tags", "squeezebert-g1-score", "squeezebert-g2-topics",
                 "bert-flag", "distilbert-tags", "modernbert-sentiment"):
        model, words = load(name, AutoModelForSequenceClassification)
        task = Task("text-classification", model, words)
        labels = model.config.num_labels
        for id, text in common.single().items():
            for top in [None, 1, 3] if labels > 1 else [None]:
                if top == 3 and labels == 3 or top is None and labels > 100 and id not in TOPICS_SHOWN:
                    continue
                options = {"top_k": top, "truncation": True}
                rows.append(row(name, options, id, task.answer(lambda pipe: pipe([text], **options)[0])
                                | nothing(words, text)))
        for function in ("sigmoid", "softmax", "none"):
            for id in ("plain-01", "emoji-01", "names-01"):
                options = {"top_k": None, "truncation": True, "function_to_apply": function}
                if labels < 100:
                    rows.append(row(name, options, id, task.answer(
                        lambda pipe: pipe([common.single()[id]], **options)[0])))
        # Hugging Face does not truncate unless told to.
        rows.append(row(name, {"top_k": 1}, "long-01", task.answer(
            lambda pipe: pipe([common.single()["long-01"]], top_k=1)[0])))
    for name in ("squeezebert-g4-nli", "bert-nli", "roberta-nli", "modernbert-sentiment"):
        model, words = load(name, AutoModelForSequenceClassification)
        task = Task("text-classification", model, words)
        for id, pair in common.pairs().items():
            for truncation in (True, "only_first", "only_second"):
                options = {"top_k": None, "truncation": truncation}
                rows.append(row(name, options, id, task.answer(lambda pipe: pipe([pair], **options)[0])))
    common.write("text-classification", rows)


def in_order(model):
    """The same model with its labels in the order that the zero-shot pipeline takes for granted: contradiction first,
    entailment last."""
    names = {label.lower(): index for index, label in model.config.id2label.items()}
    order = [names["contradiction"], names["neutral"], names["entailment"]]
    with torch.no_grad():
        model.classifier.weight.copy_(model.classifier.weight[order])
        model.classifier.bias.copy_(model.classifier.bias[order])
    model.config.id2label = dict(enumerate(["contradiction", "neutral", "entailment"]))
    model.config.label2id = {label: index for index, label in model.config.id2label.items()}
    return model


def zero_shot():
    choices = [
        {"candidate_labels": LABELS, "multi_label": False}, {"candidate_labels": LABELS, "multi_label": True},
        {"candidate_labels": LABELS, "multi_label": False, "hypothesis_template": "Ça parle de {} 🎉!"},
    ]
    few = [
        {"candidate_labels": "politics, travel ,,work", "multi_label": False},
        {"candidate_labels": ODD_LABELS, "multi_label": False}, {"candidate_labels": ODD_LABELS, "multi_label": True},
        {"candidate_labels": ["travel"], "multi_label": False}, {"candidate_labels": ["travel"], "multi_label": True},
        {"candidate_labels": ["work", "work"], "multi_label": False},
        {"candidate_labels": LABELS, "multi_label": True, "hypothesis_template": "{} or {{}}"},
        {"candidate_labels": LABELS, "multi_label": False, "hypothesis_template": "{0}: it is {0}"},
        {"candidate_labels": LABELS, "multi_label": False, "hypothesis_template": "no place for it"},
        {"candidate_labels": LABELS, "multi_label": False, "hypothesis_template": "{} and {}"},
        {"candidate_labels": ["", "work"], "multi_label": False}, {"candidate_labels": [], "multi_label": False},
        {"candidate_labels": ["word " * 99, "work"], "multi_label": False},
    ]
    rows = []
    for name in ("squeezebert-g4-nli", "squeezebert-g1-nli", "bert-nli", "roberta-nli"):
        model, words = load(name, AutoModelForSequenceClassification)
        task = Task("zero-shot-classification", model, words)
        other = None
        if model.config.label2id.get("contradiction", 0) != 0 and model.config.num_labels == 3:
            other = Task("zero-shot-classification", in_order(load(name, AutoModelForSequenceClassification)[0]), words)
        for id, text in common.single().items():
            for options in choices + (few if id in ("plain-01", "emoji-01", "long-01") else []):
                def ask(pipe):
                    got = pipe(text, **options)
                    return {"labels": got["labels"], "scores": got["scores"]}

                rest = task.answer(ask)
                if other and "answer" in rest:
                    meant = other.answer(ask)
                    if meant["answer"] != rest["answer"]:
                        rest |= {"fault": "contradiction-by-place", "meant": meant["answer"]}
                rows.append(row(name, options, id, rest | nothing(words, text)))
    common.write("zero-shot-classification", rows)


def by_prefix(task):
    """The same, but a WordPiece token goes on with a word where it says so ("##"), not where its length differs from
    that of the text it stands for."""
    for pipe in task.pipes:
        def gather(*args, own=pipe.gather_pre_entities, **kwargs):
            found = own(*args, **kwargs)
            for token in found:
                token["is_subword"] = token["word"].startswith("##")
            return found

        pipe.gather_pre_entities = gather
    return task


def token_classification():
    rows = []
    for name in ("squeezebert-g4-entities", "squeezebert-g2-names", "bert-entities", "roberta-entities",
                 "modernbert-entities"):
        model, words = load(name, AutoModelForTokenClassification)
        task = Task("token-classification", model, words)
        other = None
        if words.backend_tokenizer.model.__class__.__name__ == "WordPiece":
            other = by_prefix(Task("token-classification", model, words))

        def ask(id, **options):
            text = common.single()[id]
            rest = task.answer(lambda pipe: pipe(text, **options))
            if other and "answer" in rest:
                meant = other.answer(lambda pipe: pipe(text, **options))
                if meant["answer"] != rest["answer"]:
                    rest |= {"fault": "words-by-length", "meant": meant["answer"]}
            rows.append(row(name, options, id, rest | nothing(words, text)))

        for id in common.single():
            for strategy in STRATEGIES:
                ask(id, aggregation_strategy=strategy)
                if id.startswith("long"):
                    for stride in (0, 7, 20) if strategy in ("simple", "first") else (7,):
                        ask(id, aggregation_strategy=strategy, stride=stride)
        labels = model.config.id2label
        for id in ("plain-01", "names-01", "emoji-01"):
            for ignored in ([], [labels[0], labels[1]], ["PER"]):
                for strategy in ("none", "simple"):
                    ask(id, aggregation_strategy=strategy, ignore_labels=ignored)
    common.write("token-classification", rows)


def feature_extraction():
    """sentence-transformers' answers. It cuts first and normalises what is left (`encode`), so a cut vector has
    length 1 as well; its module Normalize, which stands before the cut, would leave it shorter."""
    rows = []
    choices = [{"pooling": pooling, "normalize": normalize, "truncate_dim": cut}
               for pooling in ("mean", "cls", "max") for normalize in (False, True) for cut in (None, 7)]
    few = [c for c in choices if c["pooling"] == "mean" or c["normalize"] and c["truncate_dim"]] + [
        {"pooling": "cls", "normalize": False, "truncate_dim": None},
        {"pooling": "max", "normalize": False, "truncate_dim": None}]
    for name in ("squeezebert-g4-encoder", "minilm-encoder", "modernbert-encoder"):
        words = Transformer(str(common.WHOLE / name), processor_kwargs={"split_special_tokens": True})
        width = words.get_embedding_dimension()
        models = {pooling: SentenceTransformer(modules=[words, Pooling(width, pooling)], device="cpu")
                  for pooling in ("mean", "cls", "max")}
        for id, text in common.single().items():
            for options in choices if id in ("plain-01", "cjk-01", "long-01") else few:
                model = models[options["pooling"]]

                def encode():
                    return model.encode(text, normalize_embeddings=options["normalize"],
                                        truncate_dim=options["truncate_dim"], show_progress_bar=False).tolist()

                rows.append(row(name, options, id, common.answer(encode) | nothing(words.tokenizer, text)))
        # The pipeline itself gives a vector for each token, special ones included.
        tokens = pipeline("feature-extraction", model=words.auto_model, tokenizer=words.tokenizer, device="cpu")
        for id in ("one-01", "emoji-03", "empty-01"):
            rows.append(row(name, {"pooling": "none"}, id, common.answer(lambda: tokens(common.single()[id])[0])))
    common.write("feature-extraction", rows)


if __name__ == "__main__":
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    warnings.simplefilter("ignore")
    text_classification()
    zero_shot()
    token_classification()
    feature_extraction()
