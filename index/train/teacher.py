"""Vectors of the teacher, all-MiniLM-L6-v2 in int8 ONNX, kept on disk by text.

Mean pooling, 128 tokens, unit length: what the program's own ONNX embedder computes. Knows nothing of tools or tables.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

MAX_TOKENS = 128
DIMENSION = 384
BATCH = 32
SAVE_EVERY = 4096


class Teacher:
    """The model of one folder, and the vectors it has given so far."""

    def __init__(self, model: Path, cache: Path) -> None:
        self.tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
        self.tokenizer.enable_truncation(MAX_TOKENS)
        self.tokenizer.enable_padding()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(str(model / "model.onnx"), options, ["CPUExecutionProvider"])
        self.cache = cache
        self.known: dict[bytes, np.ndarray] = {}
        cache.mkdir(parents=True, exist_ok=True)
        for part in sorted(cache.glob("*.npz")):
            with np.load(part) as stored:
                keys, vectors = stored["keys"], stored["vectors"]
            self.known.update((bytes(key), vector) for key, vector in zip(keys, vectors))

    def vectors(self, texts: list[str]) -> np.ndarray:
        """One unit vector per text, computed where none is kept."""
        keys = [hashlib.sha256(text.encode()).digest() for text in texts]
        missing = sorted({key: text for key, text in zip(keys, texts) if key not in self.known}.items(), key=_length)
        for start in range(0, len(missing), SAVE_EVERY):
            self._compute(missing[start : start + SAVE_EVERY])
        return np.stack([self.known[key] for key in keys]).astype(np.float32)

    def embed(self, texts: list[str]) -> np.ndarray:
        """One unit vector per text, computed now and not kept."""
        return self._run(texts)

    def _compute(self, missing: list[tuple[bytes, str]]) -> None:
        made: list[np.ndarray] = []
        for start in range(0, len(missing), BATCH):
            made.append(self._run(text for _, text in missing[start : start + BATCH]))
        vectors = np.concatenate(made).astype(np.float16)
        keys = np.array([np.frombuffer(key, dtype=np.uint8) for key, _ in missing])
        self.known.update((key, vector) for (key, _), vector in zip(missing, vectors))
        name = hashlib.sha256(keys.tobytes()).hexdigest()[:16]
        np.savez(self.cache / f"{name}.npz", keys=keys, vectors=vectors)
        print(f"teacher: {len(self.known)} vectors", flush=True)

    def _run(self, texts: Iterable[str]) -> np.ndarray:
        encoded = self.tokenizer.encode_batch(list(texts))
        ids = np.array([line.ids for line in encoded], dtype=np.int64)
        mask = np.array([line.attention_mask for line in encoded], dtype=np.int64)
        inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        states = self.session.run(None, inputs)[0]
        summed = (states * mask[:, :, None]).sum(axis=1)
        return summed / np.linalg.norm(summed, axis=1, keepdims=True)

    def token_vectors(self) -> np.ndarray:
        """Every token of the vocabulary embedded alone, in the order of the vocabulary."""
        stored = self.cache / "tokens.npy"
        if stored.exists():
            return np.load(stored)
        size = self.tokenizer.get_vocab_size()
        cls, sep = (self.tokenizer.token_to_id(token) for token in ("[CLS]", "[SEP]"))
        ids = np.array([[cls, token, sep] for token in range(size)], dtype=np.int64)
        made = []
        for start in range(0, size, 256):
            part = ids[start : start + 256]
            ones, zeros = np.ones_like(part), np.zeros_like(part)
            inputs = {"input_ids": part, "attention_mask": ones, "token_type_ids": zeros}
            states = self.session.run(None, inputs)[0].mean(axis=1)
            made.append(states / np.linalg.norm(states, axis=1, keepdims=True))
        vectors = np.concatenate(made).astype(np.float32)
        np.save(stored, vectors)
        return vectors


def _length(item: tuple[bytes, str]) -> tuple[int, bytes]:
    return len(item[1]), item[0]
