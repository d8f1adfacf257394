#!/usr/bin/env python3
"""The worker that people write in Python, for comparison: at least once, 32 texts at a time.

    python benches/python_worker.py BOOTSTRAP GROUP INPUT OUTPUT MODEL.onnx TOKENIZER.json LABELS

confluent-kafka, batch encoding by tokenizers, ONNX Runtime with its own defaults on all cores. Nothing is
done badly on purpose: one poll takes a whole batch, the tokenizer is the same Rust code, the producer sends
in the background, and offsets are committed without waiting.
"""
import json
import signal
import sys

import numpy as np
import onnxruntime
from confluent_kafka import Consumer, Producer
from tokenizers import Tokenizer

BATCH = 32

bootstrap, group, source, target, model, tokenizer_file, labels = sys.argv[1:8]
labels = labels.split(",")
session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
inputs = [i.name for i in session.get_inputs()]
tokenizer = Tokenizer.from_file(tokenizer_file)
tokenizer.enable_truncation(512)
tokenizer.enable_padding()
consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group, "auto.offset.reset": "earliest",
                     "enable.auto.commit": False})
producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 5,
                     "compression.type": "lz4"})
going = True


def stop(*_):
    global going
    going = False


signal.signal(signal.SIGTERM, stop)
consumer.subscribe([source])
while going:
    messages = [m for m in consumer.consume(BATCH, timeout=0.02) if m.error() is None]
    if not messages:
        continue
    records = [json.loads(m.value()) for m in messages]
    encodings = tokenizer.encode_batch([record["text"] for record in records])
    feed = {
        "input_ids": np.array([e.ids for e in encodings], dtype=np.int64),
        "attention_mask": np.array([e.attention_mask for e in encodings], dtype=np.int64),
        "token_type_ids": np.array([e.type_ids for e in encodings], dtype=np.int64),
    }
    logits = session.run(["logits"], {name: feed[name] for name in inputs})[0]
    scores = np.exp(logits - logits.max(axis=1, keepdims=True))
    scores /= scores.sum(axis=1, keepdims=True)
    for message, record, row in zip(messages, records, scores):
        best = int(row.argmax())
        record["nlp"] = {"label": labels[best], "score": float(row[best])}
        producer.produce(target, key=message.key(), value=json.dumps(record), timestamp=message.timestamp()[1])
    producer.poll(0)
    consumer.commit(asynchronous=True)
producer.flush()
consumer.close()
