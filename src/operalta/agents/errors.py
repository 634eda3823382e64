"""The agents room's refusals."""

from operalta.kernel.errors import Conflict, InvalidInput, NotAllowed, NotFound, Unavailable


class RouteNotApproved(NotAllowed):
    """This model route is not approved for use here. Choose another one, or ask the operator to approve it."""


class RouteUnknown(NotFound):
    """There is no such model route. Choose one from the list of routes."""


class RouteNotAllowed(NotAllowed):
    """The company does not allow this model route. Choose another one, or have it allowed under Model routes."""


class RouteChanged(NotAllowed):
    """The operator has changed this model route since the company allowed it. Look at it again under Model routes."""


class RegionNotAllowed(NotAllowed):
    """The company does not allow the region of this model route. Choose another one, or have the region allowed."""


class NoSuchAgent(NotFound):
    """There is no such agent in this company. Name one by its short name, as the list of agents shows it."""


class CannotDelegate(Conflict):
    """This run hands nothing on any more."""


class LastAgent(Conflict):
    """This is the last agent of the company. Make or bring back another one first."""


class TooManyAgents(Conflict):
    """A company has at most 100 agents, retired ones among them. Change or bring back one that is there."""


class TransitionRefused(Conflict):
    """This run is past that point. Load it again to see where it stands."""


class TriedAgainAlready(Conflict):
    """This was tried again already. Look further down in the conversation."""


class CannotGoOn(Conflict):
    """This run cannot go on: it did not end at a limit. Write another message, or try it again."""


class DaySpent(Conflict):
    """The company's agents have used what they may use today. Go on after midnight UTC."""


class WentOnOften(Conflict):
    """This run has gone on three times already. Write what is still missing as a new message."""


class ApprovalNotValid(Conflict):
    """This approval does not fit what is asked now. Look at the new question and decide again."""


class NotTheirsToDecide(NotAllowed):
    """Your role does not decide about this kind of call, or somebody else than who asked for it has to."""


class ArgumentsNotCanonical(InvalidInput):
    """These arguments cannot be written down unambiguously. Use plain text and ordinary numbers."""


class HistoryUnreadable(Unavailable):
    """The steps of this run cannot be read. Start it again with a new message."""


class ModelMisbehaved(Unavailable):
    """The model answered in a way that cannot be used. Try again, or choose another model route."""


class CannotBeShown(InvalidInput):
    """What this call would change cannot be shown, so nobody can be asked about it."""


class AnswerCutOff(ModelMisbehaved):
    """The answer grew longer than this model route allows. Ask for less at once."""


class ProviderBusy(Unavailable):
    """The model's provider does not answer right now. Try again in a minute, or choose another model route."""


class ProviderRefused(Unavailable):
    """The model's provider refused the request. Tell the operator to check this route's key and model name."""
