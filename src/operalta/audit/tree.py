"""The Merkle tree of the log (RFC 9162 section 2.1): growing it, proving from it, checking proofs.

Pure: stored hashes come in through a `NodeLookup`. Sizes count leaves; indexes begin at 0; hashes are the 32
bytes of SHA-256. A *complete* node covers 2^level leaves and never changes once it exists, so only complete
nodes are stored; what hangs over the right edge is computed when it is asked for.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from operalta.terms.registry import upholds

HASH_BYTES = 32
MAXIMUM_SIZE = 2**63 - 1
"""The largest tree: what PostgreSQL's `bigint` counts."""

EMPTY_ROOT = hashlib.sha256(b"").digest()
"""The root of a tree without leaves (RFC 9162 section 2.1.1)."""

NodeLookup: TypeAlias = Callable[[int, int], bytes]
"""Returns the hash of the complete node at (level, index); the caller guarantees that it exists."""


class TreeError(ValueError):
    """The tree was asked for something outside its bounds, or given a hash of the wrong length."""


@dataclass(frozen=True, slots=True)
class Node:
    """A complete node: `index` counts nodes of its `level` from the left; level 0 holds the leaves."""

    level: int
    index: int
    hash: bytes


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of a leaf. The prefix keeps leaves and nodes apart (RFC 9162 section 2.1.1)."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of the node above `left` and `right`."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Frontier:
    """The least that must be known of a tree to go on appending: its complete subtrees from left to right.

    Takes (level, hash) pairs with strictly falling levels, as `nodes` returned them; nothing for an empty
    tree. At most 63 hashes, whatever the size.
    """

    def __init__(self, nodes: Iterable[tuple[int, bytes]] = ()) -> None:
        self._nodes: list[tuple[int, bytes]] = []
        for level, value in nodes:
            if level < 0 or (self._nodes and level >= self._nodes[-1][0]):
                raise TreeError("The levels of a frontier fall from left to right and are not negative.")
            self._nodes.append((level, _checked(value)))
        self._size = sum(1 << level for level, _ in self._nodes)
        _check_size(self._size)

    @property
    def size(self) -> int:
        """How many leaves the tree has."""
        return self._size

    @property
    def nodes(self) -> tuple[tuple[int, bytes], ...]:
        """The complete subtrees, largest first, as (level, hash): what is kept to go on later."""
        return tuple(self._nodes)

    def append(self, leaf: bytes) -> list[Node]:
        """Add the leaf with this hash and return the nodes it completed, from the leaf upwards."""
        _check_size(self._size + 1)
        made = Node(0, self._size, _checked(leaf))
        completed = [made]
        while self._nodes and self._nodes[-1][0] == made.level:
            _, left = self._nodes.pop()
            made = Node(made.level + 1, made.index >> 1, node_hash(left, made.hash))
            completed.append(made)
        self._nodes.append((made.level, made.hash))
        self._size += 1
        return completed

    def root(self) -> bytes:
        """Return the root over all leaves appended so far."""
        if not self._nodes:
            return EMPTY_ROOT
        root = self._nodes[-1][1]
        for _, left in reversed(self._nodes[:-1]):
            root = node_hash(left, root)
        return root


def frontier_at(size: int, node: NodeLookup) -> Frontier:
    """Return the frontier of the tree's first `size` leaves, read from stored nodes."""
    _check_size(size)
    nodes: list[tuple[int, bytes]] = []
    covered = 0
    for level in reversed(range(size.bit_length())):
        if size >> level & 1:
            nodes.append((level, node(level, covered >> level)))
            covered += 1 << level
    return Frontier(nodes)


def inclusion_proof(index: int, size: int, node: NodeLookup) -> tuple[bytes, ...]:
    """Return the path from leaf `index` to the root over `size` leaves (RFC 9162 section 2.1.3.1)."""
    _check_size(size)
    if not 0 <= index < size:
        raise TreeError(f"Leaf {index} is not among the {size} leaves.")
    siblings, _ = _descend(size, index, index + 1)
    return tuple(_range_hash(start, end, node) for start, end, _ in reversed(siblings))


def consistency_proof(first: int, second: int, node: NodeLookup) -> tuple[bytes, ...]:
    """Return the proof that `second` leaves begin with the same `first` ones (RFC 9162 section 2.1.4.1).

    An empty tree is the beginning of every tree, which proves nothing: `first` is at least 1.
    """
    _check_size(second)
    if not 1 <= first <= second:
        raise TreeError(f"There is no consistency proof from {first} to {second} leaves.")
    siblings, start = _descend(second, None, first)
    hashes = [_range_hash(left, right, node) for left, right, _ in reversed(siblings)]
    if start:
        hashes.insert(0, _range_hash(start, first, node))
    return tuple(hashes)


@upholds("2.5.5")
def verify_inclusion(*, leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Tell whether `leaf` (its hash) stands at `index` below `root` over `size` leaves.

    The path's length follows from index and size and must be met exactly; there is room for nothing else.
    """
    if not 0 <= index < size <= MAXIMUM_SIZE:
        return False
    siblings, _ = _descend(size, index, index + 1)
    if len(proof) != len(siblings) or not _all_hashes(leaf, root, *proof):
        return False
    computed = leaf
    for value, (_, _, on_left) in zip(proof, reversed(siblings), strict=True):
        computed = node_hash(value, computed) if on_left else node_hash(computed, value)
    return computed == root


@upholds("2.5.5")
def verify_consistency(
    *, first: int, second: int, first_root: bytes, second_root: bytes, proof: Sequence[bytes]
) -> bool:
    """Tell whether the tree of `second` leaves only added to the tree of `first` leaves (at least 1)."""
    if not 1 <= first <= second <= MAXIMUM_SIZE:
        return False
    if first == second:
        return not proof and first_root == second_root
    siblings, start = _descend(second, None, first)
    own_hash_needed = start > 0
    if len(proof) != len(siblings) + own_hash_needed or not _all_hashes(first_root, second_root, *proof):
        return False
    old = new = proof[0] if own_hash_needed else first_root
    for value, (_, _, on_left) in zip(proof[own_hash_needed:], reversed(siblings), strict=True):
        new = node_hash(value, new) if on_left else node_hash(new, value)
        if on_left:
            old = node_hash(value, old)
    return old == first_root and new == second_root


def _descend(size: int, index: int | None, end: int) -> tuple[list[tuple[int, int, bool]], int]:
    """Walk from the root down to the subtree that ends at `end` (and begins at `index`, where given).

    Return the sibling ranges passed on the way, topmost first, as (start, end, stands on the left), and where
    the subtree that was reached begins.
    """
    start, stop = 0, size
    siblings: list[tuple[int, int, bool]] = []
    while stop != end or index not in (None, start):
        split = start + (1 << (stop - start - 1).bit_length() - 1)
        if end <= split:
            siblings.append((split, stop, False))
            stop = split
        else:
            siblings.append((start, split, True))
            start = split
    return siblings, start


def _range_hash(start: int, end: int, node: NodeLookup) -> bytes:
    """Return the root over leaves `start` to `end`, a range that `_descend` produced."""
    pieces: list[tuple[int, bytes]] = []
    while start < end:
        level = (end - start).bit_length() - 1
        pieces.append((level, node(level, start >> level)))
        start += 1 << level
    return Frontier(pieces).root()


def _checked(value: bytes) -> bytes:
    if len(value) != HASH_BYTES:
        raise TreeError(f"A hash has {HASH_BYTES} bytes, not {len(value)}.")
    return value


def _check_size(size: int) -> None:
    if not 0 <= size <= MAXIMUM_SIZE:
        raise TreeError(f"A tree has between 0 and {MAXIMUM_SIZE} leaves, not {size}.")


def _all_hashes(*values: bytes) -> bool:
    return all(len(value) == HASH_BYTES for value in values)
