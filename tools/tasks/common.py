"""What the scripts of this folder share: where things are, the corpus, and how a golden line is written."""
import copy
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


def shaken(model):
    """The same model with weights off by what another order of the same sums may do: some 1e-6."""
    import torch

    other, generator = copy.deepcopy(model), torch.Generator().manual_seed(8)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1 + 1e-6 * torch.randn(parameter.shape, generator=generator))
    return other


def same(one, other):
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) < 5e-5
    return one == other


def close(one, other):
    """{"close": true} where a shaken model answers otherwise: no implementation can be held to such a line."""
    return {} if same(one, other) else {"close": True}


def write(name, rows):
    path = GOLDEN / f"{name}.jsonl"
    path.write_text("".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows))
    raised = sum("raises" in row for row in rows)
    hang = sum("close" in row for row in rows)
    size = path.stat().st_size
    print(f"{path.name}: {len(rows)} lines, {raised} of them raise, {hang} hang on a rounding, {size} bytes")


def words_of(text):
    return re.findall(r"[^\W\d_]{2,}", text)
