import base64
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operalta.audit.tree import (
    EMPTY_ROOT,
    MAXIMUM_SIZE,
    Frontier,
    Node,
    TreeError,
    consistency_proof,
    frontier_at,
    inclusion_proof,
    leaf_hash,
    node_hash,
    verify_consistency,
    verify_inclusion,
)

VECTORS = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "merkle"


class Grown:
    """A tree of `size` distinct leaves, with every complete node that appending it gave."""

    def __init__(self, size: int) -> None:
        self.frontier = Frontier()
        self.leaves = [leaf_hash(f"entry {number}".encode()) for number in range(size)]
        self.nodes: dict[tuple[int, int], bytes] = {}
        self.roots = [self.frontier.root()]
        for leaf in self.leaves:
            for made in self.frontier.append(leaf):
                self.nodes[made.level, made.index] = made.hash
            self.roots.append(self.frontier.root())

    def node(self, level: int, index: int) -> bytes:
        return self.nodes[level, index]


def textbook_root(leaves: list[bytes]) -> bytes:
    """The recursive definition of RFC 9162 section 2.1.1, over leaf hashes."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return node_hash(textbook_root(leaves[:split]), textbook_root(leaves[split:]))


TREE = Grown(70)


def test_leaf_and_node_hashes_are_told_apart_by_their_prefix() -> None:
    assert leaf_hash(b"x") == hashlib.sha256(b"\x00x").digest()
    assert node_hash(b"l" * 32, b"r" * 32) == hashlib.sha256(b"\x01" + b"l" * 32 + b"r" * 32).digest()
    assert leaf_hash(b"l" * 32 + b"r" * 32) != node_hash(b"l" * 32, b"r" * 32)


def test_the_root_of_an_empty_tree_is_the_hash_of_nothing() -> None:
    assert Frontier().root() == EMPTY_ROOT == hashlib.sha256(b"").digest()


@pytest.mark.parametrize("size", range(71))
def test_roots_are_those_of_the_recursive_definition(size: int) -> None:
    assert TREE.roots[size] == textbook_root(TREE.leaves[:size])


def test_appending_names_each_complete_node_once_where_it_belongs() -> None:
    assert len(TREE.nodes) == sum(70 >> level for level in range(7))
    for (level, index), value in TREE.nodes.items():
        covered = TREE.leaves[index << level : (index + 1) << level]
        assert len(covered) == 1 << level
        assert value == textbook_root(covered)
    assert Frontier().append(TREE.leaves[0]) == [Node(0, 0, TREE.leaves[0])]


@pytest.mark.parametrize("size", range(70))
def test_a_frontier_kept_or_read_back_goes_on_where_it_stopped(size: int) -> None:
    for frontier in (Frontier(frontier_at(size, TREE.node).nodes), frontier_at(size, TREE.node)):
        assert frontier.size == size
        assert frontier.root() == TREE.roots[size]
        frontier.append(TREE.leaves[size])
        assert frontier.root() == TREE.roots[size + 1]


def test_a_frontier_refuses_what_cannot_be_one() -> None:
    for nodes in ([(1, b"x" * 32), (1, b"y" * 32)], [(0, b"x" * 32), (3, b"y" * 32)], [(-1, b"x" * 32)]):
        with pytest.raises(TreeError):
            Frontier(nodes)
    for short in (b"", b"x" * 31, b"x" * 33):
        with pytest.raises(TreeError):
            Frontier([(0, short)])
        with pytest.raises(TreeError):
            Frontier().append(short)
    with pytest.raises(TreeError):
        Frontier([(63, b"x" * 32)])


@given(data=st.data(), size=st.integers(1, 70))
def test_every_leaf_has_an_inclusion_proof_that_fits_it_alone(data: st.DataObject, size: int) -> None:
    index = data.draw(st.integers(0, size - 1))
    proof = inclusion_proof(index, size, TREE.node)
    leaf, root = TREE.leaves[index], TREE.roots[size]
    assert verify_inclusion(leaf=leaf, index=index, size=size, proof=proof, root=root)
    other_index = data.draw(st.integers(0, 70).filter(lambda number: number != index))
    assert not verify_inclusion(leaf=leaf, index=other_index, size=size, proof=proof, root=root)
    for altered in _alterations(data, proof):
        assert not verify_inclusion(leaf=leaf, index=index, size=size, proof=altered, root=root)
    other_leaf = TREE.leaves[(index + 1) % 70]
    assert not verify_inclusion(leaf=other_leaf, index=index, size=size, proof=proof, root=root)
    assert not verify_inclusion(leaf=leaf, index=index, size=size, proof=proof, root=TREE.roots[size - 1])


@given(data=st.data(), second=st.integers(1, 70))
def test_every_beginning_has_a_consistency_proof_that_fits_it_alone(data: st.DataObject, second: int) -> None:
    first = data.draw(st.integers(1, second))
    proof = consistency_proof(first, second, TREE.node)

    def verify(
        proof: tuple[bytes, ...] = proof,
        first: int = first,
        first_root: bytes = TREE.roots[first],
        second_root: bytes = TREE.roots[second],
    ) -> bool:
        return verify_consistency(
            first=first, second=second, first_root=first_root, second_root=second_root, proof=proof
        )

    assert verify()
    for altered in _alterations(data, proof):
        assert not verify(altered)
    assert not verify(first_root=leaf_hash(b"another history"))
    assert not verify(second_root=leaf_hash(b"another history"))
    other = data.draw(st.integers(0, 70).filter(lambda number: number != first))
    assert not verify(first=other, first_root=TREE.roots[other])


def _alterations(data: st.DataObject, proof: tuple[bytes, ...]) -> Iterator[tuple[bytes, ...]]:
    """One bit turned, one hash dropped, doubled, shortened, lengthened or put at either end."""
    garbage = leaf_hash(b"garbage")
    yield (*proof, garbage)
    yield (garbage, *proof)
    yield (*proof, b"")
    if not proof:
        return
    place = data.draw(st.integers(0, len(proof) - 1))
    before, value, after = proof[:place], proof[place], proof[place + 1 :]
    bit = data.draw(st.integers(0, 255))
    turned = (int.from_bytes(value) ^ (1 << bit)).to_bytes(32)
    for replacement in ((turned,), (), (value, value), (value[:-1],), (value + b"\x00",)):
        yield (*before, *replacement, *after)


@pytest.mark.parametrize(("index", "size"), [(0, 0), (-1, 5), (5, 5), (6, 5), (0, MAXIMUM_SIZE + 1), (0, -1)])
def test_inclusion_outside_the_tree_is_refused(index: int, size: int) -> None:
    leaf = TREE.leaves[0]
    assert not verify_inclusion(leaf=leaf, index=index, size=size, proof=(), root=leaf)
    with pytest.raises(TreeError):
        inclusion_proof(index, size, TREE.node)


@pytest.mark.parametrize(("first", "second"), [(0, 0), (0, 5), (-1, 5), (6, 5), (1, MAXIMUM_SIZE + 1)])
def test_consistency_outside_the_tree_is_refused(first: int, second: int) -> None:
    root = TREE.roots[1]
    assert not verify_consistency(first=first, second=second, first_root=root, second_root=root, proof=())
    with pytest.raises(TreeError):
        consistency_proof(first, second, TREE.node)


def test_the_largest_tree_is_walked_in_a_few_steps() -> None:
    assert len(inclusion_proof(0, MAXIMUM_SIZE, lambda _level, _index: b"x" * 32)) == 63
    too_large = Frontier([(level, b"x" * 32) for level in reversed(range(63))])
    with pytest.raises(TreeError):
        too_large.append(b"x" * 32)


def _cases(family: str) -> Iterator[tuple[str, dict[str, Any]]]:
    files = sorted((VECTORS / family).rglob("*.json"))
    if not files:
        pytest.skip("not run: the published Merkle proofs are not beside the project")
    for file in files:
        case: dict[str, Any] = json.loads(file.read_text())
        for name in {"root", "root1", "root2", "leafHash"} & case.keys():
            case[name] = base64.b64decode(case[name])
        hashes: list[str] = case["proof"] or []
        case["proof"] = [base64.b64decode(value) for value in hashes]
        yield f"{family}/{file.name}", case


def _inclusion(case: dict[str, Any]) -> bool:
    return verify_inclusion(
        leaf=case["leafHash"],
        index=case["leafIdx"],
        size=case["treeSize"],
        proof=case["proof"],
        root=case["root"],
    )


def _consistency(case: dict[str, Any]) -> bool:
    return verify_consistency(
        first=case["size1"],
        second=case["size2"],
        first_root=case["root1"],
        second_root=case["root2"],
        proof=case["proof"],
    )


@pytest.mark.external
@pytest.mark.parametrize(
    ("family", "verify", "accepted", "refused"),
    [("inclusion", _inclusion, 6, 92), ("consistency", _consistency, 6, 92)],
)
def test_published_proofs_are_all_decided_rightly(
    family: str, verify: Callable[[dict[str, Any]], bool], accepted: int, refused: int
) -> None:
    cases = list(_cases(family))
    wrong = [name for name, case in cases if verify(case) is case["wantErr"]]
    assert wrong == []
    assert sum(not case["wantErr"] for _, case in cases) == accepted
    assert sum(case["wantErr"] for _, case in cases) == refused


@pytest.mark.external
def test_published_proofs_into_subtrees_that_begin_a_tree_are_decided_rightly() -> None:
    """Where a subtree begins at 0 it is a tree of its own, and the same two proofs apply to it."""
    decided = 0
    for name, case in _cases("subtreeinclusion"):
        if case["start"] == 0:
            assert _inclusion({**case, "treeSize": case["end"]}) is not case["wantErr"], name
            decided += 1
    for name, case in _cases("subtreeconsistency"):
        if case["start"] == 0 and case["end"] > 0:
            assert _consistency({**case, "size1": case["end"], "size2": case["size"]}) is not case["wantErr"], name
            decided += 1
    assert decided > 150
