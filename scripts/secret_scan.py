"""Searches every object that the repository has ever held for secrets: python -m scripts.secret_scan.

By shape (keys of this product and of others, tokens, PEM blocks, passwords in URLs) and by entropy, where a name says
that what follows is a secret. Each object is read once, however many commits hold it; messages of commits too.
"""

import hashlib
import math
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from scripts.secret_scan_reviewed import REVIEWED

ROOT = Path(__file__).resolve().parent.parent
_LARGEST_BYTES = 4 * 1024 * 1024
_LEAST_ENTROPY = 3.9  # bits a character; English text in one word has about 3.3, random base64 of 32 characters 4.4

_SHAPES = re.compile(
    rb"(?P<pem>-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----\s+[A-Za-z0-9+/=\s]{60,})"
    rb"|(?P<own_key>\bop_[0-9A-Za-z]{50}\b)"
    rb"|(?P<own_secret>\b(?:local|production)_[\w-]{43,})"
    rb"|(?P<jwt>\beyJ[\w-]{16,}\.eyJ[\w-]{16,}\.[\w-]{40,})"
    rb"|(?P<aws_id>\b(?:AKIA|ASIA)[0-9A-Z]{16}\b)"
    rb"|(?P<github>\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_\w{50,}))"
    rb"|(?P<slack>\bxox[abprs]-[0-9A-Za-z-]{20,})"
    rb"|(?P<stripe>\b[rs]k_live_[0-9A-Za-z]{20,})"
    rb"|(?P<model>\bsk-[A-Za-z0-9_-]{32,})"
    rb"|(?P<google>\bAIza[\w-]{35}\b)"
    rb"|(?P<url>\b[a-z][a-z0-9+]{2,20}://[^\s/:@'\"{}]{0,60}:(?P<password>[^\s/:@'\"{}%]{12,80})@[\w.-]+)"
)
_ASSIGNED = re.compile(
    rb"(?i:secret|passw(?:or)?d|token|api_?key|private_?key|credential)\w{0,20}[\"']?\s{0,3}[:=]\s{0,3}[brf]{0,2}[\"']"
    rb"(?P<value>[A-Za-z0-9+/=_.~-]{20,200})[\"']"
)


@dataclass(frozen=True, slots=True)
class Hit:
    """Something that looks like a secret: its shape, the object and path it is in, and a digest of the text itself."""

    shape: str
    blob: str
    path: str
    digest: str


def scan(root: Path = ROOT) -> list[Hit]:
    """Return every hit that nobody has reviewed, in all commits of all branches. Raise OSError where git fails."""
    hits: list[Hit] = []
    for blob, path, content in _objects(root):
        for shape, text in found_in(content):
            digest = hashlib.sha256(text).hexdigest()[:16]
            if digest not in REVIEWED:
                hits.append(Hit(shape, blob, path, digest))
    return hits


def found_in(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the shape and the text of whatever looks like a secret."""
    for match in _SHAPES.finditer(content):
        yield (match.lastgroup or "") if match["url"] is None else "url", match["password"] or match[0]
    for match in _ASSIGNED.finditer(content):
        if entropy(match["value"]) >= _LEAST_ENTROPY:
            yield "entropy", match["value"]


def entropy(text: bytes) -> float:
    """Return Shannon's entropy of a text, in bits a character."""
    counts = Counter(text).values()
    return -sum(count / len(text) * math.log2(count / len(text)) for count in counts)


def _objects(root: Path) -> Iterator[tuple[str, str, bytes]]:
    """Yield each blob and commit once, with a path that it had."""
    listed = _git(root, "rev-list", "--objects", "--all")
    paths = dict(reversed([(line[:40], line[41:]) for line in listed.decode(errors="replace").splitlines()]))
    batch = _git(root, "cat-file", "--batch", given="\n".join(paths).encode() + b"\n")
    position = 0
    while position < len(batch):
        end = batch.index(b"\n", position)
        blob, kind, size = batch[position:end].decode().split(" ")
        content = batch[end + 1 : end + 1 + int(size)]
        position = end + 2 + int(size)
        if kind in {"blob", "commit", "tag"} and len(content) <= _LARGEST_BYTES and b"\x00" not in content[:8000]:
            yield blob, paths[blob] or kind, content


def _git(root: Path, *arguments: str, given: bytes | None = None) -> bytes:
    # It only reads, so whose folder this is does not matter.
    command = ["git", "-c", "safe.directory=*", "-C", str(root), *arguments]
    return subprocess.run(command, input=given, capture_output=True, check=True).stdout


def main() -> int:
    """Print every hit and return 1 where there is one."""
    hits = scan()
    for hit in hits:
        print(f"{hit.shape:10} {hit.path} ({hit.blob[:12]}) digest {hit.digest}")
    print(f"{len(hits)} hits" if hits else "no secret was found in the whole history")
    return 1 if hits else 0


if __name__ == "__main__":
    sys.exit(main())
