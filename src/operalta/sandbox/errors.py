"""Refusals of the sandbox: names of files, files, destinations, answers.

No text tells what lies behind a name: neither a path of this machine nor an address that a host resolves to.
"""

from operalta.kernel.errors import Conflict, InvalidInput, LimitReached, NotAllowed, NotFound, TooLarge, Unavailable


class InvalidPath(InvalidInput):
    """This is not a usable file name. Use plain names with single slashes, such as `reports/may.md`."""


class InvalidRequest(InvalidInput):
    """This request cannot be sent. Check its method and headers."""


class NotDeclared(NotAllowed):
    """This lies outside the directories that were opened for this work. Choose a file inside one of them."""


class NeverWritable(NotAllowed):
    """Files that other programs execute or obey are never written here. Choose another name."""


class ReadOnlyWorkspace(NotAllowed):
    """Files can only be read here."""


class LinkRefused(NotAllowed):
    """Links are not followed. Open the file itself, by its own name."""


class NotARegularFile(NotAllowed):
    """This is not an ordinary file. Only ordinary files can be opened."""


class NotADirectory(InvalidInput):
    """This is a file, not a directory. Choose a directory."""


class DirectoryNotEmpty(NotAllowed):
    """This directory is not empty. Delete what is in it first."""


class NoSuchFile(NotFound):
    """There is no file of this name."""


class NameTaken(Conflict):
    """There is something of this name already, and it is not replaced. Choose another name."""


class FileTooLarge(TooLarge):
    """This file is larger than what is accepted. Split it, or make it smaller."""


class TooManyFiles(TooLarge):
    """There is no room for more files. Delete some that are no longer needed."""


class WorkspaceFull(TooLarge):
    """The workspace is full. Delete files that are no longer needed."""


class FilesUnavailable(Unavailable):
    """Files are not available on this server. Tell its operator."""


class DestinationRefused(NotAllowed):
    """This destination may not be reached from here. Choose a public web address."""

    def __init__(self, public_text: str | None = None, *, rule: str = "policy") -> None:
        """Hold the name of the `rule` that refused, which is safe to show, and its text."""
        super().__init__(public_text)
        self.rule = rule


class ContentRefused(NotAllowed):
    """The answer is of a kind that is not accepted here. Choose a page, a document or an image."""


class FetchTooLarge(TooLarge):
    """The answer is larger than what is accepted. Choose a smaller page or document."""


class TooManyRedirects(NotAllowed):
    """The address leads from page to page without end. Give the final address."""


class FetchLimitReached(LimitReached):
    """As much has been fetched as may be for now. Wait a minute, or write again to begin a new run."""


class FetchNotCounted(Unavailable):
    """Requests cannot be counted right now, so this one was not made. Try again shortly."""


class FetchFailed(Unavailable):
    """The destination did not give a usable answer. Check the address, or try again later."""


class FetchTimedOut(FetchFailed):
    """The destination took too long to answer. Try again later."""


class ShellUnavailable(Unavailable):
    """Commands cannot be run on this server. Tell its operator."""


class NoNetworkForCommands(NotAllowed):
    """Commands have no network on this server. Its operator can name hosts that they may reach."""


class TooMuchForACommand(TooLarge):
    """This is more than a command can be given. Name a folder with fewer or smaller files."""


class NotWhatItsNameSays(InvalidInput):
    """This file is not what its name says. Give it the name of what it is, or choose another file."""


class DocumentNotRead(InvalidInput):
    """This document cannot be read. Save it once more with the program that made it, or as a PDF."""


class KindNotRead(DocumentNotRead):
    """Files of this kind are not read. Save it as a PDF, as an office document or as text."""


class DocumentDamaged(DocumentNotRead):
    """This document is damaged. Open it with the program that made it, and save it once more."""


class DocumentProtected(DocumentNotRead):
    """This document is protected with a password. Take the password off, and bring it again."""


class DocumentOfOldFormat(DocumentNotRead):
    """This document has an old Office format. Save it as .docx, .pptx or .xlsx, and bring it again."""


class DocumentSuspicious(DocumentNotRead):
    """This document is built like an attack, so it was not read. Save it once more with the program that made it."""


class DocumentTooLarge(TooLarge):
    """This document is too large or too involved to be read. Split it, or save it as text."""


class ReadingUnavailable(Unavailable):
    """Documents cannot be read right now. Try again shortly; if it stays so, tell the operator."""
