#!/usr/bin/env python3
"""The answers of Hugging Face's question-answering pipeline, which transformers gave up after 5.2.

    python tools/tasks/questions.py      # after packages.py, with requirements-questions.txt; question-answering.jsonl
"""
import os
import warnings

import torch
from transformers import AutoModelForQuestionAnswering, AutoTokenizer, logging, pipeline

import common

# Options that make tokenizers panic are among those tried: no need to see where.
os.environ["RUST_BACKTRACE"] = "0"
# Asked of every text.
ALWAYS = "Where does Maria work?"
# By id of the text.
MORE = {
    "plain-01": ["Who moved?", "?", "王芳 \U0001f60d", "[SEP]", "Where? " * 40, " ", ""],
    "names-01": ["Which city?"], "names-03": ["Which city is named?", "paris"],
    "marks-01": ["Who met whom, and where?"],
    "cjk-01": ["王芳住在哪里？"], "emoji-01": ["Who works at the \U0001f3f3\ufe0f\u200d\U0001f308 shop?"],
    "address-01": ["What is the address?"], "log-01": ["From where did the login fail?"],
    "long-01": ["Who went to Paris?", "What does the mail say?"], "long-02": ["Wo ist O'Neill?"],
    "long-03": ["What is the end?"],
}
EVERYWHERE = [{}, {"handle_impossible_answer": True}, {"align_to_words": False}]
SOMETIMES = [{"max_answer_len": 1}, {"max_answer_len": 4}, {"top_k": 3}, {"top_k": 3, "handle_impossible_answer": True},
             {"max_answer_len": 0}, {"max_question_len": 3}]
WINDOWS = [{"max_seq_len": 32, "doc_stride": 8}, {"max_seq_len": 32, "doc_stride": 8, "handle_impossible_answer": True},
           {"max_seq_len": 40, "doc_stride": 0}, {"max_seq_len": 24, "doc_stride": 12, "top_k": 3},
           {"max_seq_len": 20, "doc_stride": 24}, {"max_seq_len": 44, "doc_stride": 10, "align_to_words": False}]


def options_for(id, question):
    yield from EVERYWHERE
    if question != ALWAYS or id in ("plain-01", "names-03", "marks-02"):
        yield from SOMETIMES
    if id.startswith(("long", "log", "address")):
        yield from WINDOWS


def asked(finds, question, context, options):
    """The answer; and, where that is the sum of several, what it would be of the best span alone."""
    one, other = (common.answer(lambda: find(question=question, context=context, **options)) for find in finds)
    kept = [find.get_answer for find in finds]
    for find in finds:
        find.get_answer = lambda answers, target: None
    alone, beside = (common.answer(lambda: find(question=question, context=context, **options)) for find in finds)
    for find, own in zip(finds, kept):
        find.get_answer = own
    rest = one | (common.close(one, other) or common.close(alone, beside))
    return rest if alone == one else rest | {"fault": "sums-of-spans", "unmerged": alone["answer"]}


def main():
    rows = []
    for name in ("squeezebert-g4-answers", "bert-answers", "distilbert-answers", "roberta-answers"):
        folder = common.WHOLE / name
        model = AutoModelForQuestionAnswering.from_pretrained(folder).eval()
        words = AutoTokenizer.from_pretrained(folder, split_special_tokens=True)
        finds = [pipeline("question-answering", model=m, tokenizer=words, device="cpu")
                 for m in (model, common.shaken(model))]
        for id, context in common.single().items():
            for question in [ALWAYS, *MORE.get(id, [])]:
                for options in options_for(id, question):
                    rows.append({"package": name, "options": options, "input": id, "question": question}
                                | asked(finds, question, context, options))
    common.write("question-answering", rows)


if __name__ == "__main__":
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    warnings.simplefilter("ignore")
    main()
