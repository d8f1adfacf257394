"""What the scripts of this folder share: where things are, the corpus, and how a golden line is written."""
import json
import math
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
GOLDEN = ROOT / "tests" / "golden" / "tasks"
PACKAGES = ROOT / "tests" / "packages" / "tasks"
CHECKPOINTS = ROOT / "tests" / "checkpoints" / "tasks"
# Every model as transformers saves it, weights and all; not committed.
WHOLE = ROOT / ".cache" / "tasks"
DIGITS = 7

sys.path.insert(0, str(ROOT / "tools"))


def corpus():
    """By id: {"text"} or {"text", "text_pair"}."""
    rows = [json.loads(line) for line in (GOLDEN / "corpus.jsonl").read_text().splitlines()]
    return {row.pop("id"): row for row in rows}


def single():
    """Texts that are no pairs, by id."""
    return {id: row["text"] for id, row in corpus().items() if "text_pair" not in row}


def pairs():
    return {id: row for id, row in corpus().items() if "text_pair" in row}


def plain(value):
    """numpy's and torch's numbers as JSON's, floats rounded."""
    if isinstance(value, dict):
        return {key: plain(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float):
        # A NaN is no JSON; none of these models gives one.
        assert math.isfinite(value)
        return round(value, DIGITS) + 0.0
    return value


def answer(call):
    """{"answer"}, or {"raises": the exception's name} where Hugging Face gives none."""
    try:
        return {"answer": plain(call())}
    except (KeyboardInterrupt, SystemExit):
        raise
    # A panic of tokenizers' Rust is no Exception.
    except BaseException as error:
        return {"raises": type(error).__name__}


def write(name, rows):
    path = GOLDEN / f"{name}.jsonl"
    path.write_text("".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows))
    raised = sum("raises" in row for row in rows)
    print(f"{path.name}: {len(rows)} lines, {raised} of them raise, {path.stat().st_size} bytes")


def words_of(text):
    return re.findall(r"[^\W\d_]{2,}", text)
