"""Refusals of the workspace: memory, metrics, files, artifacts, conversations."""

from operalta.kernel.errors import Conflict, InvalidInput, NotAllowed, NotFound, Unavailable


class NoSuchRecord(NotFound):
    """There is no such entry in the memory, or it is not yours to see."""


class StatusNotReachable(Conflict):
    """This entry cannot get that status from the one it has now. Load it again to see what is possible."""


class NoSuchLink(NotFound):
    """These two entries are not tied so. Load the entry again to see what it is tied to."""


class AlreadySuperseded(Conflict):
    """This entry has been superseded already. Open the newer one and change that."""


class NotAMember(InvalidInput):
    """The owner of an entry is a member of the company. Choose one of its members."""


class NoSuchMetric(NotFound):
    """There is no such metric, or it is not yours to see."""


class MetricExists(Conflict):
    """There is a metric with this short name already. Choose another short name, or edit that one."""


class FileChangedMeanwhile(Conflict):
    """This file was changed in the meantime, so it was left as it is."""


class FileDamaged(Unavailable):
    """What is kept of this file is not what was stored, so it is not shown. Tell the operator to restore it."""


class NotText(InvalidInput):
    """This file is not text. Download it instead."""


class NameInTheWay(Conflict):
    """A file cannot lie inside another file, nor take a folder's name. Choose another name."""


class NotInTheBin(Conflict):
    """This file is not in the bin. Load the page again to see where it is."""


class NoSuchArtifact(NotFound):
    """There is no such artifact, or it is not yours to see."""


class ArtifactChangedMeanwhile(Conflict):
    """There is a newer version of this artifact. Load it again and make your change to that one."""


class ArtifactArchived(Conflict):
    """This artifact is archived. Restore it first, then change it."""


class NoSuchConversation(NotFound):
    """There is no such conversation, or it is not yours to see."""


class KeyUsedOtherwise(Conflict):
    """This idempotency key was used for something else. Send each new message with a key of its own."""


class NotSpokenHere(NotAllowed):
    """People write as people in their own session, agents as agents in their run."""
