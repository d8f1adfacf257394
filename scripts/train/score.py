#!/usr/bin/env python3
"""Entities right and wrong, strictly: an entity counts only with its exact words and its class, and begins with B-.

Counts as seqeval does with `mode="strict", scheme=IOB2`. Used by entities.py; by itself it scores what
`squeezeflow tag` says of the same sentences:

    python scripts/train/score.py texts WNUT17/test.conll > records.jsonl
    python scripts/train/score.py answers WNUT17/test.conll tagged.jsonl

with `task: { token-classification: { aggregation: none } }`, a record's text in `/text`, the result in `/entities`.
"""
import json
import sys


def read(path):
    """Sentences of a CoNLL file: (words, tags) each."""
    sentences, words, tags = [], [], []
    with open(path, encoding="utf-8") as lines:
        for line in lines.read().split("\n") + [""]:
            word, _, tag = line.rpartition("\t")
            if tag and word:
                words.append(word)
                tags.append(tag.strip())
            elif words:
                sentences.append((words, tags))
                words, tags = [], []
    return sentences


def entities(tags):
    """(class, first word, word after the last) of each; I- without its B- is none."""
    found, begin, kind = set(), None, None
    for place, tag in enumerate([*tags, "O"]):
        prefix, _, name = tag.partition("-")
        if begin is not None and not (prefix == "I" and name == kind):
            found.add((kind, begin, place))
            begin = None
        if prefix == "B":
            begin, kind = place, name
    return found


def figures(gold, predicted):
    """Precision, recall and F1 over lists of tags, for each class and (micro) for all."""
    counts = {}
    for right, said in zip(gold, predicted, strict=True):
        right, said = entities(right), entities(said)
        for kind, *_ in right | said:
            counts.setdefault(kind, [0, 0, 0])
        for kind, count in counts.items():
            count[0] += sum(e[0] == kind for e in right & said)
            count[1] += sum(e[0] == kind for e in said)
            count[2] += sum(e[0] == kind for e in right)
    counts = dict(sorted(counts.items()))
    counts["all"] = [sum(column) for column in zip(*counts.values())]

    def share(part, whole):
        return part / whole if whole else 0.0

    def row(hits, said, there):
        return {
            "precision": round(share(hits, said), 4),
            "recall": round(share(hits, there), 4),
            "f1": round(share(2 * hits, said + there), 4),
            "right": hits,
            "found": said,
            "there": there,
        }

    return {kind: row(*count) for kind, count in counts.items()}


def table(rows):
    """For people, and for the card."""
    lines = ["| class | precision | recall | F1 | entities |", "|---|---|---|---|---|"]
    for kind, row in rows.items():
        lines.append(f"| {kind} | {row['precision']:.4f} | {row['recall']:.4f} | {row['f1']:.4f} | {row['there']} |")
    return "\n".join(lines)


def tags_of(words, answer):
    """A word's tag is that of the token that it begins with."""
    places, at = {}, 0
    for place, word in enumerate(words):
        places[at] = place
        at += len(word) + 1
    tags = ["O"] * len(words)
    for entity in answer:
        if entity["start"] in places:
            tags[places[entity["start"]]] = entity["entity"]
    return tags


def main(what, file, answers=None):
    sentences = read(file)
    if what == "texts":
        for words, _ in sentences:
            print(json.dumps({"text": " ".join(words)}))
        return
    with open(answers, encoding="utf-8") as lines:
        said = [json.loads(line)["entities"]["entities"] for line in lines]
    predicted = [tags_of(words, answer) for (words, _), answer in zip(sentences, said, strict=True)]
    print(table(figures([tags for _, tags in sentences], predicted)))


if __name__ == "__main__":
    main(*sys.argv[1:])
