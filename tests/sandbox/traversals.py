"""Names that lead out of a folder somewhere: the well-known spellings of `..` and of `/`, put together."""

from collections.abc import Iterator

DOTS = (
    "..", "%2e%2e", ".%2e", "%2e.", "%252e%252e", "%25252e%25252e", "%%32%65%%32%65", "%2%65%2%65", "%c0%ae%c0%ae",
    "%e0%80%ae%e0%80%ae", "%f0%80%80%ae%f0%80%80%ae", "%25c0%25ae%25c0%25ae", "%u002e%u002e", "%uff0e%uff0e",
    "%25u002e", "%ef%bc%8e%ef%bc%8e", "\uff0e\uff0e", "\u2024\u2024", "\u2025", "\ufe52\ufe52", "..;", "..;a=b",
    "..%3b", "...", "....", ".. ", " ..", "..%20", "..%00", "..\x00", "..%0d%0a", ".\u200d.", ".\u00ad.", "..\u202e",
    "\udcc0\udcae\udcc0\udcae",
)  # fmt: skip
SEPARATORS = (
    "/", "//", "/./", "\\", "\\\\", "%2f", "%5c", "%252f", "%255c", "%25252f", "%%32%66", "%c0%af", "%c1%9c",
    "%e0%80%af", "%u2215", "%u2216", "%uEFC8", "%ef%bc%8f", "\uff0f", "\uff3c", "\ufe68", "\u2044", "\u2215",
    "\u2216", "\u29f8",
)  # fmt: skip
WHOLE = (
    "/etc/passwd", "//etc/passwd", "///etc/passwd", "/./etc/passwd", "\\etc\\passwd", "%2fetc%2fpasswd",
    "%252fetc%252fpasswd", "file:///etc/passwd", "file:/etc/passwd", "C:", "C:\\Windows\\win.ini", "C:/Windows/win.ini",
    "c:boot.ini", "C%3a/Windows", "\\\\host\\share\\x", "//host/share/x", "\\\\?\\C:\\x", "\\\\.\\pipe\\x", "//?/C:/x",
    "%5c%5chost%5cshare", "~", "~/.ssh/id_rsa", "%7e/.ssh/id_rsa", "notes/", "notes//x", "notes/./x", "notes/.",
    "notes/..", "notes/x.", "notes/x..", "notes/x ", "notes/x%20", "notes/x%2e", "notes./x", "x\x00.md", "x%00.md",
    "x%2500.md", "x\n.md", "x%0a.md", "x\r", "x\x7f", "x\u2028y", "x\ufeffy", "/proc/self/root/etc/passwd",
    "/proc/self/environ", "/dev/tcp/x", "notes/../../versions/x", ".", "..", "...", "",
)  # fmt: skip


def escapes() -> Iterator[str]:
    """Yield each way up with each separator, before and behind a plain folder, and whole names of other systems."""
    for dots in DOTS:
        for separator in SEPARATORS:
            yield f"{dots}{separator}{dots}{separator}etc{separator}passwd"
            yield f"notes{separator}{dots}{separator}{dots}{separator}secret"
    yield from WHOLE
