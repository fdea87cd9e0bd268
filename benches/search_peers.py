#!/usr/bin/env python3
"""Measures what dkc's search is held against: ONNX Runtime, Chroma and FAISS from Python: `benches/search_peers.py`.

- In: what `cargo bench --bench search -- peers` wrote to DKC_BENCH_SEARCH: texts, vectors, questions; DKC_MODELS; a Python
  with onnxruntime, tokenizers, numpy, chromadb and faiss-cpu.
- Out: a line a figure: what, number, unit, with tabs between.
- ONNX Runtime runs the same packed model at each of several settings; the best counts. Its texts are sorted by length, so
  that a batch pads little, and in tokens already.
"""

import json
import os
import pathlib
import sys
import time

import numpy

CACHE = pathlib.Path(os.environ.get("DKC_CACHE") or pathlib.Path.home() / ".cache" / "dkc")
MODELS = pathlib.Path(os.environ.get("DKC_MODELS") or CACHE / "models")
DATA = pathlib.Path(os.environ.get("DKC_BENCH_SEARCH") or CACHE / "bench-search")
MODEL = MODELS / "all-minilm-l6-v2"
ROUNDS = 3


def show(what, number, unit):
    print(f"{what}\t{number:.3f}\t{unit}", flush=True)


def times(what, taken):
    taken = sorted(taken)
    show(f"{what}, p50", taken[len(taken) // 2] * 1e3, "ms")
    show(f"{what}, p99", taken[len(taken) * 99 // 100] * 1e3, "ms")


def onnx():
    """Texts a second, of equal length and as mails have them."""
    import onnxruntime
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(MODEL / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(256)
    texts = {f"{tokens} tokens": [[101] + [2773] * (tokens - 2) + [102]] * (4096 // tokens) for tokens in (32, 128, 256)}
    mails = json.loads((DATA / "texts.json").read_text())
    texts["chunks of mails"] = sorted((encoded.ids for encoded in tokenizer.encode_batch(mails)), key=len)
    for name, ids in texts.items():
        best = {}
        for threads in (1, 2):
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = threads
            session = onnxruntime.InferenceSession(str(MODEL / "model.onnx"), options, providers=["CPUExecutionProvider"])
            for size in (1, 8, 32):
                best[threads, size] = max(rate(session, ids, size) for _ in range(ROUNDS))
        (threads, size), found = max(best.items(), key=lambda item: item[1])
        show(f"ONNX Runtime, {name}, best: {threads} threads, batches of {size}", found, "texts/s")


def rate(session, texts, size):
    begin = time.perf_counter()
    for first in range(0, len(texts), size):
        batch = texts[first:first + size]
        longest = max(map(len, batch))
        ids = numpy.zeros((len(batch), longest), numpy.int64)
        mask = numpy.zeros_like(ids)
        for row, text in enumerate(batch):
            ids[row, :len(text)], mask[row, :len(text)] = text, 1
        states, = session.run(None, {"input_ids": ids, "attention_mask": mask, "token_type_ids": numpy.zeros_like(ids)})
        sums = (states * mask[:, :, None]).sum(1)
        sums / numpy.linalg.norm(sums, axis=1, keepdims=True)
    return len(texts) / (time.perf_counter() - begin)


def near():
    """Nearest vectors, of all and by sender or date."""
    import chromadb
    import faiss

    facts = json.loads((DATA / "facts.json").read_text())
    dimension = facts["dimension"]
    vectors = numpy.fromfile(DATA / "vectors.f32", numpy.float32).reshape(-1, dimension)
    questions = numpy.fromfile(DATA / "questions.f32", numpy.float32).reshape(-1, dimension)
    exact = numpy.argsort(-(questions @ vectors.T), axis=1)[:, :10]

    def recall(found):
        return sum(len(set(a) & set(b)) for a, b in zip(found, exact)) / exact.size

    index = faiss.IndexHNSWFlat(dimension, 32, faiss.METRIC_INNER_PRODUCT)
    index.add(vectors)
    index.hnsw.efSearch = 64
    found, taken = [], []
    for question in questions:
        begin = time.perf_counter()
        _, ids = index.search(question[None], 10)
        taken.append(time.perf_counter() - begin)
        found.append(ids[0].tolist())
    times("FAISS HNSW, ef 64", taken)
    show("FAISS HNSW, ef 64, recall@10", recall(found), "")

    client = chromadb.EphemeralClient(chromadb.config.Settings(anonymized_telemetry=False))
    collection = client.create_collection("pieces", metadata={"hnsw:space": "ip"})
    for first in range(0, len(vectors), 5000):
        part = range(first, min(first + 5000, len(vectors)))
        collection.add([str(n) for n in part], vectors[first:first + 5000],
                       [{"sender": facts["senders"][n], "date": facts["dates"][n]} for n in part])
    for what, where in (("of all", None), ("by sender", {"sender": facts["sender"]}),
                        ("by date", {"$and": [{"date": {"$gte": facts["first"]}}, {"date": {"$lt": facts["last"]}}]})):
        found, taken = [], []
        for question in questions:
            begin = time.perf_counter()
            ids = collection.query(question[None], n_results=10, where=where, include=[])["ids"][0]
            taken.append(time.perf_counter() - begin)
            found.append([int(id) for id in ids])
        times(f"Chroma, {what}", taken)
        if where is None:
            show("Chroma, recall@10", recall(found), "")


if __name__ == "__main__":
    for part in sys.argv[1:] or ("onnx", "near"):
        {"onnx": onnx, "near": near}[part]()
