"""How files are observed: over the chat and the API, with links and special files planted on the throw-away's disk."""

import asyncio
import contextlib
import os
import secrets
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Generator
from http import HTTPStatus
from pathlib import Path

from operalta.assurance.registry import ProbeContext, probe
from operalta.assurance.rules import Observations
from operalta.assurance.stage import API, Company, Person, Stage, StageFault, staged
from operalta.workspace.files.rules import Content

_SPOKEN = (
    "../../../../etc/passwd",
    "/etc/passwd",
    "notes/../../../etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "..\\..\\etc\\passwd",
    "notes/\u2025/\u2025/etc/passwd",
    "....//....//etc/passwd",
    "~/.ssh/id_rsa",
    "file:///etc/passwd",
    "/proc/self/environ",
)
_SENT = (
    *_SPOKEN,
    "..",
    "notes/..",
    "./x",
    "notes//x",
    "notes/",
    "notes/x.",
    "notes/ x",
    "%2e%2e/x",
    "%252e%252e%252fx",
    "%25252e%25252e/x",
    "%%32%65%%32%65/x",
    ".%2e/x",
    "%c0%ae%c0%ae/x",
    "%e0%80%ae%e0%80%ae/x",
    "..%c0%afx",
    "..%c1%9cx",
    "%u002e%u002e/x",
    "%uff0e%uff0e/x",
    "%ef%bc%8e%ef%bc%8e/x",
    "\uff0e\uff0e/x",
    "\u2024\u2024/x",
    "..\uff0fx",
    "..\uff3cx",
    "..\u2215x",
    "..;/x",
    "..%3b/x",
    "..%00/x",
    "x%00.md",
    "x%0a.md",
    "C:x",
    "C:/x",
    "\\\\host\\share\\x",
    "//host/share/x",
    "\\\\?\\C:\\x",
    "x\u202ey",
    ".\u200d./x",
)
_REFUSED_AS_A_NAME = ("not a usable file name", "Leave out slashes", "A name does not begin or end")
_OUTSIDE_THE_FOLDERS = "outside the directories"
_REFUSED = (HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY)
_ROUNDS = 40


@probe("5.2.1")
async def agents_reach_declared_folders(context: ProbeContext) -> Observations:
    """Hold an agent to one folder, and have it read, write, add, move, delete, list and search beside it."""
    stage = staged(context)
    seen = Observations()
    person = await stage.new_person("Gil Declaring")
    company = await stage.found(person, "Declaring Company", "startup")
    word = f"okapi{secrets.token_hex(4)}"
    for path in ("notes/in.md", "board/out.md", "notes-private/out.md"):
        await _bring(person, company, path, f"{word} {path}")
    await _declare(person, company, "notes")
    inside = ("/read notes/in.md", f"/write notes/new.md | {word} new", "/append notes/new.md | more")
    for text, run in zip(inside, await stage.say_all(person, company, inside), strict=True):
        seen.expect(f"{text} works in the folder", run.outcome == "success", run.told)
    beside = (
        "/read board/out.md",
        "/read notes-private/out.md",
        "/write board/new.md | x",
        "/append board/out.md | x",
        "/move board/out.md | notes/out.md",
        "/move notes/in.md | board/in.md",
        "/delete board/out.md",
        "/list board",
    )
    for text, run in zip(beside, await stage.say_all(person, company, beside), strict=True):
        refused = run.outcome == "failed" and _OUTSIDE_THE_FOLDERS in run.told
        seen.expect(f"{text} is refused, with the reason", refused, run.told)
    runs = await stage.say_all(person, company, ("/list", f"/search {word}", "/write notes/.git/hooks/post-commit | x"))
    told = str([run.events for run in runs[:2]])
    seen.expect("list and search show the folder alone", "notes/in.md" in told and "out.md" not in told)
    obeyed = runs[2].outcome == "failed" and "never written here" in runs[2].told
    seen.expect("what other programs obey is not written, in the folder neither", obeyed, runs[2].told)
    listed = (await person.browser.get(f"{API}/companies/{company.slug}/files")).json()["items"]
    now = sorted((each["path"], each["version"]) for each in listed if not each["path"].startswith("notes/"))
    seen.expect("what lies beside it is as it was", now == [("board/out.md", 1), ("notes-private/out.md", 1)], now)
    foreign = await asyncio.to_thread(_folders_holding, stage.settings.workspaces_path, word)
    seen.expect("its bytes lie in the company's own folder alone", foreign == {company.id}, len(foreign))
    return seen


@probe("5.2.2")
async def traversal_is_refused(context: ProbeContext) -> Observations:
    """Send names that lead out in dozens of spellings, over the API and by the chat, and look at what was touched."""
    stage = staged(context)
    seen = Observations()
    person = await stage.new_person("Hal Traversing")
    company = await stage.found(person, "Traversing Company", "startup")
    file = await _bring(person, company, "notes/inside.md", "inside")
    place = _place(stage, company)
    before = await asyncio.to_thread(_state, place)
    base = f"{API}/companies/{company.slug}/files"
    sent = [("append", path) for path in _SENT] + [(f"{file}/move", path) for path in _SPOKEN]
    codes: dict[str, str] = {}
    for call, path in sent:
        body = {"path": path} if call.endswith("move") else {"path": path, "text": "outside"}
        answer = await person.browser.post(f"{base}/{call}", body)
        codes[f"{call.rpartition('/')[2]} {path}"] = f"{answer.status} {_code(answer.body) or 'done'}"
    others = {name: code for name, code in codes.items() if code != "422 invalid_path"}
    seen.expect("every spelling is refused as a name, by the API", not others, others or f"{len(codes)} calls")
    texts = [f"/read {path}" for path in _SPOKEN] + [f"/move notes/inside.md | {path}" for path in _SPOKEN[:4]]
    for text, run in zip(texts, await stage.say_all(person, company, texts), strict=True):
        refused = run.outcome == "failed" and any(part in run.told for part in _REFUSED_AS_A_NAME)
        seen.expect(f"{text} is refused as a name", refused, run.told)
    plain = await person.browser.post(f"{base}/{file}/move", {"path": "notes/inside.md"})
    seen.expect("a plain name is one", plain.status == HTTPStatus.OK, plain.status)
    after = await asyncio.to_thread(_state, place)
    seen.expect("no file was touched", before == after, f"{len(after)} entries, with the times of their last change")
    return seen


@probe("5.2.3")
async def links_lead_nowhere(context: ProbeContext) -> Observations:
    """Plant links, pipes and second names on the disk, swap them in while files are written, and ask for the files."""
    stage = staged(context)
    seen = Observations()
    person = await stage.new_person("Ida Linking")
    company = await stage.found(person, "Linking Company", "startup")
    content = f"okapi {secrets.token_hex(8)}"
    file = await _bring(person, company, "plan.md", content)
    outside = stage.deployment.var / f"outside-{secrets.token_hex(4)}"
    outside.mkdir(mode=0o700)
    version = _place(stage, company) / "versions" / file / f"1-{Content.of(content.encode()).sha256}"
    # The same bytes as the file's own, so that only the way to them can tell the two apart.
    twin = outside / version.name
    twin.write_bytes(version.read_bytes())
    address = f"{API}/companies/{company.slug}/files/{file}/download"
    try:
        plain = await person.browser.get(address)
        seen.expect("the file itself is handed over", plain.status == HTTPStatus.OK, plain.status)
        plants: tuple[tuple[str, Path, Callable[[Path], None]], ...] = (
            ("a symbolic link in the file's place", version, lambda place: place.symlink_to(twin)),
            ("a hard link in its place", version, lambda place: place.hardlink_to(twin)),
            ("a pipe in its place", version, os.mkfifo),
            ("a link in the place of its folder", version.parent, lambda place: place.symlink_to(outside)),
        )
        for what, place, plant in plants:
            with _planted(place, plant):
                answer = await person.browser.get(address)
            refused = answer.status == HTTPStatus.FORBIDDEN
            seen.expect(f"{what} is refused", refused, f"{answer.status} {_code(answer.body)}")
        mended = await person.browser.get(address)
        seen.expect("the file is handed over again", mended.status == HTTPStatus.OK, mended.status)
        await _write_through_links(stage, person, company, outside, seen)
        left = sorted(path.name for path in outside.iterdir())
        seen.expect("nothing was written outside", left == [twin.name], len(left))
    finally:
        await asyncio.to_thread(shutil.rmtree, outside, ignore_errors=True)
    return seen


async def _write_through_links(
    stage: Stage, person: Person, company: Company, outside: Path, seen: Observations
) -> None:
    """Write below a folder that is a link, and below one that becomes a link and a folder again all the time."""
    base, shown = f"{API}/companies/{company.slug}/files", _place(stage, company) / "files"
    (shown / "out").symlink_to(outside)
    answer = await person.browser.post(f"{base}/append", {"path": "out/planted.md", "text": "x"})
    refused = answer.status == HTTPStatus.FORBIDDEN
    seen.expect("writing below a linked folder is refused", refused, f"{answer.status} {_code(answer.body)}")
    (shown / "out").unlink()
    (shown / "door").mkdir()
    statuses: Counter[int] = Counter()
    with _swapped(shown / "door", outside):
        for number in range(_ROUNDS):
            answer = await person.browser.post(f"{base}/append", {"path": f"door/{number}.md", "text": "x"})
            statuses[answer.status] += 1
    fine = statuses.keys() <= {HTTPStatus.OK, *_REFUSED}
    seen.expect("below a folder that is swapped for a link all the time, it is done or refused", fine, dict(statuses))


def _place(stage: Stage, company: Company) -> Path:
    return stage.settings.workspaces_path / company.id


async def _bring(person: Person, company: Company, path: str, text: str) -> str:
    """Write a text file over the API and return its id. Raise StageFault where that is refused."""
    answer = await person.browser.post(f"{API}/companies/{company.slug}/files/append", {"path": path, "text": text})
    if answer.status != HTTPStatus.OK:
        raise StageFault(f"to write a file was answered with {answer.status}")
    return str(answer.json()["id"])


async def _declare(person: Person, company: Company, *folders: str) -> None:
    """Hold all agents of a company to folders. Raise StageFault where that is refused."""
    base = f"{API}/companies/{company.slug}/agents"
    for agent in (await person.browser.get(base)).json()["items"]:
        answer = await person.browser.send("PATCH", f"{base}/{agent['id']}", json={"directories": folders})
        if answer.status != HTTPStatus.OK:
            raise StageFault(f"to declare folders was answered with {answer.status}")


def _code(body: bytes) -> str:
    return body.partition(b'"code":"')[2].partition(b'"')[0].decode("ascii", "replace")


def _state(folder: Path) -> dict[str, int]:
    """Return what lies below a folder, with the time of each entry's last change; of directories as well."""
    return {str(path.relative_to(folder)): path.lstat().st_mtime_ns for path in (folder, *folder.rglob("*"))}


def _folders_holding(workspaces: Path, word: str) -> set[str]:
    """Return the companies' folders in which a file holds a word. Other probes may be at work on theirs meanwhile."""
    found: set[str] = set()
    for place, _, names in os.walk(workspaces):  # follows no link, and passes over what has gone
        for path in (Path(place, name) for name in names):
            with contextlib.suppress(FileNotFoundError):
                if path.is_file() and not path.is_symlink() and word.encode() in path.read_bytes():
                    found.add(path.relative_to(workspaces).parts[0])
    return found


@contextlib.contextmanager
def _planted(place: Path, plant: Callable[[Path], None]) -> Generator[None]:
    """Have something else in a place for a while."""
    aside = place.with_name(f"aside-{secrets.token_hex(4)}")
    place.rename(aside)
    try:
        plant(place)
        yield
    finally:
        place.unlink(missing_ok=True)
        aside.rename(place)


@contextlib.contextmanager
def _swapped(folder: Path, outside: Path) -> Generator[None]:
    """Have a thread put a link in the place of a folder, and the folder back, as fast as it can."""
    link, aside = folder.with_name("link"), folder.with_name("aside")
    link.symlink_to(outside)
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            # Where a write has made the folder anew meanwhile, the one that was put aside has no way back.
            shutil.rmtree(aside, ignore_errors=True)
            for one, other in ((folder, aside), (link, folder), (folder, link), (aside, folder)):
                with contextlib.suppress(OSError):
                    one.rename(other)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        for path in (link, aside, folder):
            if path.is_symlink():
                path.unlink()
            else:
                shutil.rmtree(path, ignore_errors=True)
