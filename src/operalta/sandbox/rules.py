"""Names of files in a workspace: what is a usable name, and what may never be written. Pure."""

import re
import unicodedata
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from operalta.sandbox.errors import InvalidPath, NeverWritable, NotDeclared
from operalta.terms.registry import upholds

MAXIMUM_CHARACTERS = 1_024
MAXIMUM_PART_BYTES = 255  # NAME_MAX of every Linux file system
MAXIMUM_DEPTH = 16
TEMPORARY_PREFIX = ".operalta-"  # names of files that are being written; nobody else may use them

_DECODING_ROUNDS = 5
_JOINERS = "\u200c\u200d"  # needed to write Persian, and in some emoji
_REFUSED_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_ESCAPED_CODE_UNIT = re.compile(r"%u[0-9a-fA-F]{4}")
_DRIVE = re.compile(r"[A-Za-z]:")
# Fraction and division slashes, set minus and their like: some programs write them down as the separator.
_LIKE_SEPARATORS = frozenset("\u2044\u2215\u2216\u2571\u2572\u29f5\u29f8\u29f9")

# What another program would execute or obey without asking, wherever in the tree it stands.
NEVER_WRITABLE = frozenset({
    ".git", ".gitconfig", ".gitmodules", ".hg", ".husky", ".svn",
    ".bash_aliases", ".bash_login", ".bash_logout", ".bash_profile", ".bashrc", ".cshrc", ".inputrc",
    ".kshrc", ".login", ".logout", ".profile", ".tcshrc", ".xprofile", ".xsession", ".zlogin", ".zlogout",
    ".zprofile", ".zshenv", ".zshrc",
    ".direnv", ".envrc", ".pam_environment", ".ssh", ".rhosts", ".netrc", ".aws", ".azure", ".gnupg",
    ".docker", ".kube", ".config", ".local", ".pgpass",
    ".cargo", ".condarc", ".gemrc", ".m2", ".npmrc", ".pip", ".pnpmfile.cjs", ".pypirc", ".yarnrc",
    ".yarnrc.yml", ".pre-commit-config.yaml", ".pythonrc", ".pdbrc", ".gdbinit", ".lldbinit",
    ".bazelrc", ".curlrc", ".forward", ".gdbearlyinit", ".ghci", ".irbrc", ".mailcap", ".mise.toml", ".my.cnf",
    ".mylogin.cnf", ".ocamlinit", ".procmailrc", ".pryrc", ".psqlrc", ".renviron", ".rprofile", ".sqliterc",
    ".terraformrc", ".wgetrc", ".xinitrc", ".xserverrc", ".git-credentials", ".hgrc", ".npm", ".yarn", ".eslintrc.js",
    ".emacs", ".emacs.d", ".exrc", ".nvim", ".vim", ".vimrc", ".nanorc", ".editrc", ".screenrc", ".tmux.conf",
    ".idea", ".vscode", ".devcontainer", ".devcontainer.json", ".fleet", ".zed",
    ".aider.conf.yml", ".amazonq", ".claude", ".claude.json", ".clinerules", ".codex", ".continue", ".cursor",
    ".cursorrules", ".gemini", ".mcp.json", ".roo", ".windsurf", ".windsurfrules",
    "sitecustomize.py", "usercustomize.py",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class WorkspacePath:
    """A checked name below a workspace; no parts mean the workspace itself. Made by `parse_path` alone."""

    parts: tuple[str, ...]

    def __str__(self) -> str:
        """Return the name as people type it."""
        return "/".join(self.parts)

    @property
    def name(self) -> str:
        """The last part; empty for the workspace itself."""
        return self.parts[-1] if self.parts else ""

    @property
    def parent(self) -> "WorkspacePath":
        """The directory that holds it."""
        return WorkspacePath(self.parts[:-1])


@upholds("5.2.2")
def parse_path(text: str) -> WorkspacePath:
    """Return `text` as a checked name in NFC. Raise InvalidPath, before any file is touched.

    Refused: empty and absolute names, drives, empty, `.` and `..` parts (with `;…` behind them too), backslashes and
    what looks like a separator, control and invisible characters, blanks and dots at the end of a part, and whatever
    turns into one of these by percent-decoding (up to five times over) or by compatibility mapping (such as a
    full-width full stop).
    """
    if not text or len(text) > MAXIMUM_CHARACTERS:
        raise InvalidPath(f"A file name has between 1 and {MAXIMUM_CHARACTERS} characters.", field="path")
    normal = unicodedata.normalize("NFC", text)
    _refuse_hidden_traversal(normal)
    parts = tuple(normal.split("/"))
    if len(parts) > MAXIMUM_DEPTH:
        raise InvalidPath(f"A file may lie at most {MAXIMUM_DEPTH} levels deep.", field="path")
    _check_parts(parts)
    return WorkspacePath(parts)


def is_usable_name(part: str) -> bool:
    """Tell whether `part`, one entry of a directory, has a name that `parse_path` gives back unchanged."""
    try:
        return parse_path(part).parts == (part,)
    except InvalidPath:
        return False


@upholds("5.2.1")
def check_declared(path: WorkspacePath, declared: tuple[WorkspacePath, ...]) -> None:
    """Raise NotDeclared unless `path` lies at or below one of the `declared` directories."""
    if not any(path.parts[: len(directory.parts)] == directory.parts for directory in declared):
        raise NotDeclared


@upholds("5.2.1")
def declared_in_both(first: tuple[WorkspacePath, ...], second: tuple[WorkspacePath, ...]) -> tuple[WorkspacePath, ...]:
    """Return the directories that lie at or below one of each: of two that hold each other, the inner."""
    inner = [
        max(one, other, key=lambda directory: len(directory.parts))
        for one in first
        for other in second
        if all(mine == theirs for mine, theirs in zip(one.parts, other.parts, strict=False))
    ]
    return tuple(dict.fromkeys(inner))


@upholds("5.2.1")
def check_writable(path: WorkspacePath) -> None:
    """Raise NeverWritable where any part names something that other programs execute or obey.

    Compared without regard to case, width and joiners: some file systems and programs do the same.
    """
    for part in path.parts:
        folded = unicodedata.normalize("NFKC", part).casefold()
        if folded.translate(dict.fromkeys(map(ord, _JOINERS))) in NEVER_WRITABLE:
            raise NeverWritable


def _refuse_hidden_traversal(text: str) -> None:
    if _ESCAPED_CODE_UNIT.search(text):
        raise InvalidPath(field="path")
    decoded = text
    for _ in range(_DECODING_ROUNDS):
        try:
            following = unquote_to_bytes(decoded).decode()
        except UnicodeError:
            raise InvalidPath(field="path") from None
        if following == decoded:
            break
        decoded = following
    else:
        raise InvalidPath(field="path")
    if decoded == text:
        return
    if decoded.count("/") != text.count("/") or _ESCAPED_CODE_UNIT.search(decoded):
        raise InvalidPath(field="path")
    _check_parts(tuple(decoded.split("/")))


def _check_parts(parts: tuple[str, ...]) -> None:
    if parts[0] == "~" or _DRIVE.match(parts[0]):
        raise InvalidPath(field="path")
    for part in parts:
        _check_part(part)


def _check_part(part: str) -> None:
    if not part:
        raise InvalidPath("Leave out slashes at the start, at the end and in a row.", field="path")
    try:
        encoded = part.encode()
    except UnicodeEncodeError:
        raise InvalidPath(field="path") from None
    if len(encoded) > MAXIMUM_PART_BYTES:
        raise InvalidPath(f"A name may be at most {MAXIMUM_PART_BYTES} bytes long.", field="path")
    if any(unicodedata.category(c) in _REFUSED_CATEGORIES and c not in _JOINERS for c in part):
        raise InvalidPath("A file name holds no control or invisible characters.", field="path")
    visible = part.translate(dict.fromkeys(map(ord, _JOINERS)))
    mapped = unicodedata.normalize("NFKC", visible)
    if "/" in mapped or "\\" in mapped or not _LIKE_SEPARATORS.isdisjoint(part):
        raise InvalidPath(field="path")
    # What stands behind a semicolon is dropped by some servers, so that `..;` means `..` there.
    if not mapped.strip(". ") or (mapped.startswith(".") and not mapped.partition(";")[0].strip(". ")):
        raise InvalidPath(field="path")
    if mapped != mapped.strip() or mapped.endswith((".", ":")):
        raise InvalidPath("A name does not begin or end with a blank, nor end with a dot or colon.", field="path")
    if mapped.casefold().startswith(TEMPORARY_PREFIX):
        raise InvalidPath(f"Names that begin with {TEMPORARY_PREFIX} are taken.", field="path")
