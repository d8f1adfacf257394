"""How often pipelines/logs.yaml says what a line's own level says, over the seven logs of loghub that have one.

    python3 tools/severity.py SQUEEZEFLOW LOGHUB [PIPELINE]

SQUEEZEFLOW is the program, LOGHUB the folder with Apache.log, BGL.log, … Each line is asked three times: without its
level and what stands before it (time, host, process), so that it says it by its words alone; with the level in front;
and whole, as the log has it. Of lines that differ only in words with digits one is taken. Needs Python alone.
"""
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

LABELS = ("error", "warning", "info")
LEVELS = {
    "FATAL": "error", "SEVERE": "error", "ERROR": "error", "FAILURE": "error", "error": "error",
    "WARN": "warning", "WARNING": "warning", "warn": "warning",
    "INFO": "info", "DEBUG": "info", "notice": "info", "info": "info",
}
LINE = {
    "Apache": r"\] \[(\w+)\] (.*)", "BGL": r" RAS \w+ (\w+) (.*)", "HDFS": r"^\d+ \d+ \d+ (\w+) (.*)",
    "Hadoop": r"^\S+ \S+ (\w+) (.*)", "Spark": r"^\S+ \S+ (\w+) (.*)", "Zookeeper": r" - (\w+) +(.*)",
    "OpenStack": r"^\S+ \S+ \S+ \d+ (\w+) (.*)",
}
FORMS = {
    "without its level": lambda one: one.text,
    "with it": lambda one: f"{one.level} {one.text}",
    "the whole line": lambda one: one.whole,
}


class Line(NamedTuple):
    log: str
    label: str
    level: str
    text: str
    whole: str


def lines(folder):
    seen = set()
    for name, form in LINE.items():
        for line in (folder / f"{name}.log").read_text(errors="replace").splitlines():
            found = re.search(form, line)
            label = LEVELS.get(found.group(1)) if found else None
            alike = re.sub(r"\S*\d\S*", "0", found.group(2)) if found else None
            if label and alike not in seen:
                seen.add(alike)
                yield Line(name, label, found.group(1), found.group(2), line)


def figures(answers):
    """Of (line, label said): how many are right, and by label how many there are, recall, precision, F1."""
    pairs = Counter((line.label, label) for line, label in answers)
    rows = {}
    for label in LABELS:
        true, there = pairs[label, label], sum(n for (a, _), n in pairs.items() if a == label)
        told = sum(n for (_, b), n in pairs.items() if b == label)
        recall, precision = true / max(there, 1), true / max(told, 1)
        rows[label] = (there, recall, precision, 2 * recall * precision / max(recall + precision, 1e-9))
    return sum(pairs[label, label] for label in LABELS), rows


def short(answers):
    right, rows = figures(answers)
    recalls = " ".join(f"{label} {row[1]:.3f}" for label, row in rows.items())
    return f"{right} of {len(answers)} ({right / len(answers):.3f}), macro F1 {sum(r[3] for r in rows.values()) / 3:.3f}, recall {recalls}"


def table(answers):
    out = [short(answers)]
    for label, (there, recall, precision, f1) in figures(answers)[1].items():
        out.append(f"  {label:9} {there:4} lines, recall {recall:.3f}, precision {precision:.3f}, F1 {f1:.3f}")
    for log in LINE:
        of = [(line, label) for line, label in answers if line.log == log]
        said = Counter(label for _, label in of)
        out.append(f"  {log:9} {short(of)}; said {dict(said)}")
    return "\n".join(out)


def main():
    program, folder = sys.argv[1], Path(sys.argv[2])
    pipeline = sys.argv[3] if len(sys.argv) > 3 else "pipelines/logs.yaml"
    known = list(lines(folder))
    for form, text in FORMS.items():
        given = "".join(text(one) + "\n" for one in known)
        ran = subprocess.run(
            [program, "tag", pipeline, "--set", "log.level=warn"], input=given.encode(), stdout=subprocess.PIPE, check=True
        )
        said = [json.loads(line)["nlp"]["label"] for line in ran.stdout.decode().splitlines()]
        assert len(said) == len(known), (len(said), len(known))
        print(f"{form}: {table(list(zip(known, said)))}")


if __name__ == "__main__":
    main()
