"""How often pipelines/logs.yaml says what a line's own level says, over the seven logs of loghub that have one.

    python3 tools/severity.py SQUEEZEFLOW LOGHUB [PIPELINE]

SQUEEZEFLOW is the program, LOGHUB the folder with Apache.log, BGL.log, … The level is cut out of the line, and
what stands before it (time, host, process), so that what is left says it by its words alone; then once more with
the level left in. Of lines that differ only in words with digits one is taken. Needs Python alone.
"""
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

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


def lines(folder):
    seen = set()
    for name, form in LINE.items():
        for line in (folder / f"{name}.log").read_text(errors="replace").splitlines():
            found = re.search(form, line)
            level = LEVELS.get(found.group(1)) if found else None
            alike = re.sub(r"\S*\d\S*", "0", found.group(2)) if found else None
            if level and alike not in seen:
                seen.add(alike)
                yield name, level, found.group(1), found.group(2)


def main():
    program, folder = sys.argv[1], Path(sys.argv[2])
    pipeline = sys.argv[3] if len(sys.argv) > 3 else "pipelines/logs.yaml"
    known = list(lines(folder))
    for what, text in (("without its level", lambda k: k[3]), ("with it", lambda k: f"{k[2]} {k[3]}")):
        given = "".join(text(one) + "\n" for one in known)
        ran = subprocess.run([program, "tag", pipeline, "--set", "log.level=warn"], input=given.encode(), stdout=subprocess.PIPE, check=True)
        said = [json.loads(line)["nlp"]["label"] for line in ran.stdout.decode().splitlines()]
        assert len(said) == len(known), (len(said), len(known))
        pairs = Counter((level, label) for (_, level, _, _), label in zip(known, said))
        labels, right = ("error", "warning", "info"), sum(n for (a, b), n in pairs.items() if a == b)
        print(f"{what}: {right} of {len(known)} ({right / len(known):.3f})")
        scores = []
        for label in labels:
            true, all_of, told = pairs[label, label], sum(n for (a, _), n in pairs.items() if a == label), sum(n for (_, b), n in pairs.items() if b == label)
            recall, precision = true / max(all_of, 1), true / max(told, 1)
            scores.append(2 * recall * precision / max(recall + precision, 1e-9))
            print(f"  {label:8} {all_of:5} lines, recall {recall:.3f}, precision {precision:.3f}, F1 {scores[-1]:.3f}", {b: pairs[label, b] for b in labels})
        print(f"  macro F1 {sum(scores) / 3:.3f}")


if __name__ == "__main__":
    main()
