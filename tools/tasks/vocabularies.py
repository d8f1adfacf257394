"""Tokenizers with small vocabularies, each of the kind that its family of models has.

Half of the corpus's characters beyond ASCII are in the WordPiece vocabularies, the other half are unknown.
"""
import collections

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from common import ROOT, single, words_of

BERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ROBERTA = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
ENDINGS = "s ed ing ly er st al ion ment ness ful an en es ity ous land burg stadt man".split()


def settings(limit, specials, inputs, **more):
    pad, unk, cls, sep, mask = specials
    return {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": limit, "model_input_names": inputs,
            "pad_token": pad, "unk_token": unk, "cls_token": cls, "sep_token": sep, "mask_token": mask} | more


def wordpiece(size, limit, cased, inputs=("input_ids", "token_type_ids", "attention_mask")):
    """BERT's: uncased also strips accents, so that tokens are shorter or longer than what they stand for."""
    fold = (lambda text: text) if cased else normalizers.BertNormalizer(lowercase=True).normalize_str
    texts = [fold(text) for text in single().values()]
    signs = [chr(c) for c in range(33, 127) if cased or not chr(c).isupper()]
    beyond = sorted({c for text in texts for c in text if not c.isascii() and not c.isspace() and c.isprintable()})[::2]
    vocabulary = BERT + signs + ["##" + c for c in signs if c.isalnum()] + beyond
    vocabulary += ["##" + c for c in beyond if c.isalpha() and c < "\u3000"] + ["##" + e for e in ENDINGS]
    counts = collections.Counter(word for text in texts for word in words_of(text) if word.isascii())
    frequent = sorted((w for w in counts if len(w) < 9), key=lambda w: (-counts[w], w))
    common = (ROOT / "tools" / "common_words.txt").read_text().split()
    vocabulary = list(dict.fromkeys(vocabulary + frequent[:90] + common))[:size]
    assert len(vocabulary) == size, len(vocabulary)
    tokenizer = Tokenizer(models.WordPiece({w: i for i, w in enumerate(vocabulary)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=not cased)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    tokenizer.add_special_tokens(BERT)
    return tokenizer, settings(limit, BERT, list(inputs))


def bpe(size, specials):
    """Byte-level, trained on the corpus; the end-of-word quirks are the post-processor's."""
    tokenizer = Tokenizer(models.BPE(continuing_subword_prefix="", end_of_word_suffix=""))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(list(single().values()), trainers.BpeTrainer(
        vocab_size=size, special_tokens=specials, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False))
    return tokenizer


def roberta(size, limit):
    """Offsets without the space before a word (`trim_offsets`)."""
    tokenizer = bpe(size, ROBERTA)
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=False)
    cls, pad, sep, unk, mask = ROBERTA
    return tokenizer, settings(limit, [pad, unk, cls, sep, mask], ["input_ids", "attention_mask"],
                               bos_token=cls, eos_token=sep)


def modernbert(size, limit):
    """Text is composed (NFC) first; offsets take in the space before a word; runs of spaces are tokens."""
    runs = ["  ", "   ", "    "]
    tokenizer = bpe(size - len(runs), BERT)
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.add_tokens([AddedToken(run, normalized=True) for run in runs])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return tokenizer, settings(limit, BERT, ["input_ids", "attention_mask"])
