"""Fits the shipped table, or says how good such a table is on sets that it has not seen.

    python train.py --data DIR --model DIR --wordnet DIR --cache DIR fit OUT.table
    python train.py ... leave-out [--lexical DIR] [--tables DIR]
    python train.py ... show OUT.table TEXT...

`--data` holds a folder per set; `--cache` keeps the teacher's vectors and is made where it is missing. `--tables` keeps the table of
each set left out, as `SET.table`: the program's `eval` measures with it.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import sparse
from tokenizers import Tokenizer

import corpus
import fit
import measure
import pieces
from teacher import Teacher

SEED = 7
MAGIC = b"PEGTAB01"
DIMENSION = 256
# A definition counts for less than a tool: it is further from what the table is for.
DEFINITION_SHARE = 0.5
MIN_EXAMPLE_WORDS = 3
WEIGHTS = [1.0, 0.3, 0.4, 0.5, 0.6]


def untruncated(model: Path) -> Tokenizer:
    """The model's tokenizer, without its cut at 128 and its padding."""
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


@dataclass
class Texts:
    """Bags and the teacher's vectors."""

    bags: sparse.csr_matrix
    vectors: np.ndarray


class Material:
    """Everything that is read, once."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.teacher = Teacher(arguments.model, arguments.cache)
        self.tokenizer = untruncated(arguments.model)
        names = [name for origin in corpus.ORIGINS for name in origin] + [corpus.NOISE]
        self.sets = {name: corpus.read_set(arguments.data / name) for name in names}
        self.tools = {name: self._texts(tools.texts) for name, tools in self.sets.items()}
        self.requests = {name: self._texts(tools.requests()) for name, tools in self.sets.items() if tools.queries}
        synsets = corpus.read_wordnet(arguments.wordnet)
        random.Random(SEED).shuffle(synsets)
        examples = [text for synset in synsets for text in synset.examples if len(text.split()) >= MIN_EXAMPLE_WORDS]
        self.definitions = [self._texts([synset.text() for synset in synsets]), self._texts(examples)]

    def _texts(self, texts: list[str]) -> Texts:
        return Texts(fit.bags(self.tokenizer, texts), self.teacher.vectors(texts))

    def table(self, held: list[str]) -> fit.Table:
        """Fitted to everything but the sets of `held`."""
        names = [name for name in self.sets if name not in held]
        tools = [self.tools[name] for name in names if name != "metatool_multi" or "metatool" in held]
        near = tools + [self.requests[name] for name in names if name in self.requests]
        every = near + self.definitions
        bags = sparse.vstack([texts.bags for texts in every]).tocsr()
        vectors = np.concatenate([texts.vectors for texts in every])
        importance = np.full(len(vectors), DEFINITION_SHARE, dtype=np.float32)
        importance[: sum(texts.bags.shape[0] for texts in near)] = 1
        rarity = fit.idf(sparse.vstack([texts.bags for texts in tools]).tocsr())
        table = fit.ridge(bags, vectors, rarity, self.teacher.token_vectors(), importance)
        return fit.refine(table, self._pairs(held), SEED)

    def _pairs(self, held: list[str]) -> fit.Pairs:
        """Requests and the tools that answer them; where any tool of a server would do, the label is too coarse."""
        left, right, group = [], [], []
        for number, (name, tools) in enumerate(self.sets.items()):
            if name in held or name not in self.requests:
                continue
            place = {tool: row for row, tool in enumerate(tools.ids)}
            exact = [(row, query) for row, query in enumerate(tools.queries) if query.get("match") != "any"]
            pairs = [(row, place[tool]) for row, query in exact for tool in query["relevant"][:3] if tool in place]
            if pairs:
                asked, answers = (np.array(side) for side in zip(*pairs))
                left.append(self.requests[name].bags[asked])
                right.append(self.tools[name].bags[answers])
                group.append(np.full(len(pairs), number))
        return fit.Pairs(sparse.vstack(left).tocsr(), sparse.vstack(right).tocsr(), np.concatenate(group))

    def sample(self) -> sparse.csr_matrix:
        """Tools' bags, for the main directions."""
        return sparse.vstack([texts.bags for texts in self.tools.values()]).tocsr()


def write(path: Path, table: fit.Table, tokenizer: Tokenizer) -> str:
    """The file that `index/src/table.rs` reads; returns the digest inside it."""
    steps, scales = fit.quantised(table)
    words = {word: row for word, row in tokenizer.get_vocab().items() if not word.startswith("[") or word == "["}
    order = sorted(words, key=lambda word: word.encode())
    rows = [words[word] for word in order]
    ends = np.cumsum([len(word.encode()) for word in order]).astype("<u4")
    text = "".join(order).encode()
    body = struct.pack("<III", table.rows.shape[1], len(rows), len(text)) + ends.tobytes() + text
    body += scales[rows].astype("<f4").tobytes() + steps[rows].tobytes()
    digest = hashlib.sha256(body)
    path.write_bytes(MAGIC + digest.digest() + body)
    return digest.hexdigest()


def show(path: Path, tokenizer: Tokenizer, texts: list[str]) -> None:
    """The beginnings of vectors, from the file alone: what the program must see too."""
    body = path.read_bytes()[len(MAGIC) + 32 :]
    dimension, count, size = struct.unpack_from("<III", body)
    ends = np.frombuffer(body, "<u4", count, 12)
    text = body[12 + 4 * count :][:size]
    place = {text[start:end].decode(): row for row, (start, end) in enumerate(zip([0, *ends[:-1]], ends))}
    scales = np.frombuffer(body, "<f4", count, 12 + 4 * count + size)
    steps = np.frombuffer(body, "i1", count * dimension, 12 + 8 * count + size).reshape(count, dimension)
    for line, ids in zip(texts, pieces.encode(tokenizer, texts)):
        rows = [place[tokenizer.id_to_token(token)] for token in ids]
        vector = fit.unit((steps[rows] * scales[rows, None]).sum(axis=0, keepdims=True))[0]
        print(line, [round(float(x), 5) for x in vector[:3]])


def leave_out(material: Material, lexical: Path | None, tables: Path | None, dimension: int) -> None:
    """NDCG@10 of each set with a table that has not seen it."""
    means = []
    print("set, dense alone, then fused with words at", WEIGHTS[1:])
    for held in corpus.ORIGINS:
        table = fit.shrink(material.table(held), dimension, material.sample())
        for name in held if tables else []:
            write(tables / f"{name}.table", table, material.tokenizer)
        steps, scales = fit.quantised(table)
        table = fit.Table(steps * scales[:, None])
        for name in held:
            tools = material.sets[name]
            cosines = table.embed(material.requests[name].bags) @ table.embed(material.tools[name].bags).T
            words = measure.read_lexical(lexical / f"{name}.jsonl") if lexical else {}
            mean = measure.scores(tools.queries, tools.ids, cosines, words, WEIGHTS).mean(axis=0)
            means.append(mean)
            print(f"{name:18}", " ".join(f"{value:.4f}" for value in mean), flush=True)
    print(f"{'mean of sets':18}", " ".join(f"{value:.4f}" for value in np.mean(means, axis=0)))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("data", "model", "wordnet", "cache"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--dimension", type=int, default=DIMENSION)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("fit").add_argument("out", type=Path)
    leaver = commands.add_parser("leave-out")
    leaver.add_argument("--lexical", type=Path)
    leaver.add_argument("--tables", type=Path)
    shower = commands.add_parser("show")
    shower.add_argument("table", type=Path)
    shower.add_argument("texts", nargs="+")
    arguments = parser.parse_args()
    if arguments.command == "show":
        show(arguments.table, untruncated(arguments.model), arguments.texts)
        return
    material = Material(arguments)
    if arguments.command == "fit":
        table = fit.shrink(material.table([]), arguments.dimension, material.sample())
        print(write(arguments.out, table, material.tokenizer))
    else:
        leave_out(material, arguments.lexical, arguments.tables, arguments.dimension)


if __name__ == "__main__":
    main()
