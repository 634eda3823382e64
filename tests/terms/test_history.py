"""No secret is in the repository, and none ever was: every object of its whole history is searched."""

import random
import shutil
import string
import subprocess
from pathlib import Path

import pytest

from operalta.kernel.secret_texts import marked
from scripts import secret_scan
from scripts.secret_scan_reviewed import REVIEWED

ROOT = Path(__file__).resolve().parents[2]
LETTERS = string.ascii_letters + string.digits


def made_up(length: int) -> str:
    """A random text; secrets in the open would be found by the very test that searches for them."""
    return "".join(random.SystemRandom().choices(LETTERS, k=length))


PLANTED = {
    "pem": lambda: f"-----BEGIN {'PRIVATE'} KEY-----\n{made_up(64)}\n{made_up(64)}\n",
    "own_key": lambda: f"op_{made_up(50)}",
    "own_secret": lambda: marked("production", made_up(64).encode()).decode(),
    "jwt": lambda: f"eyJ{made_up(20)}.eyJ{made_up(40)}.{made_up(86)}",
    "aws_id": lambda: "AKIA" + "".join(random.SystemRandom().choices(string.ascii_uppercase, k=16)),
    "github": lambda: f"ghp_{made_up(36)}",
    "slack": lambda: f"xoxb-{made_up(30)}",
    "stripe": lambda: f"sk_live_{made_up(24)}",
    "model": lambda: f"sk-{made_up(40)}",
    "google": lambda: f"AIza{made_up(35)}",
    "url": lambda: f"postgresql://owner:{made_up(16)}@db.internal/operalta",
    "entropy": lambda: f'client_secret = "{made_up(40)}"',
}


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=Tester", "-c", "user.email=tester@localhost", "-c", "safe.directory=*")
    subprocess.run(["git", *identity, "-C", str(folder), *arguments], check=True, capture_output=True)


@pytest.mark.proves("7.2.1")
def test_no_commit_holds_a_secret() -> None:
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not run: this is no clone, so there is no history to search")
    if (ROOT / ".git" / "shallow").exists():
        pytest.skip("not run: this clone was cut off, so its history is not all here")
    assert secret_scan.scan(ROOT) == []
    assert all(reason.endswith(".") for reason in REVIEWED.values())


@pytest.mark.proves("7.2.1")
def test_what_was_committed_once_and_taken_away_is_found(tmp_path: Path) -> None:
    if shutil.which("git") is None:
        pytest.skip("not run: git is not installed")
    git(tmp_path, "init", "--quiet")
    for shape, planted in PLANTED.items():
        (tmp_path / f"{shape}.txt").write_text(f"before\n{planted()}\nafter\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "Plant them")
    for shape in PLANTED:
        (tmp_path / f"{shape}.txt").unlink()
    git(tmp_path, "commit", "--quiet", "-a", "-m", f"Take them away, and leave ghp_{made_up(36)} in a message")
    git(tmp_path, "switch", "--quiet", "--orphan", "another")
    (tmp_path / "calm.txt").write_text("password = os.environ['PASSWORD']\nsecret = 'a-plain-word-with-no-entropy'\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "Nothing here")
    found = {(hit.shape, hit.path) for hit in secret_scan.scan(tmp_path)}
    assert {(shape, f"{shape}.txt") for shape in PLANTED} <= found
    assert ("github", "commit") in found
    assert not [path for _, path in found if path == "calm.txt"]
