"""What the policy's reasons mean, in words for cards, logs and answers. Pure."""

from collections.abc import Iterable
from types import MappingProxyType

_SENTENCES = MappingProxyType(
    {
        "unknown_tool": "There is no such tool.",
        "not_available_here": "This tool does not work on this server.",
        "not_switched_on_for_the_company": "This tool is switched off for the company.",
        "not_granted_to_the_agent": "This agent has not been granted this tool.",
        "definition_has_changed": "This tool has changed since it was accepted. Somebody has to accept it again.",
        "arguments_do_not_fit": "What was asked of the tool does not fit it.",
        "arguments_not_canonical": "What was asked of the tool cannot be written down unambiguously.",
        "arguments_too_long": "What was asked of the tool is too long to be shown and approved.",
        "company_setting": "The company has set this tool so.",
        "agent_setting": "This agent is set so for this tool.",
        "internal_read": "It only reads what you may read.",
        "typed_as_a_command": "You typed exactly this as a command.",
        "changes_nothing": "It would change nothing.",
        "own_space": "It is a new private note of yours, in your words.",
        "address_in_your_words": "You wrote out this address.",
        "all_named_by_you": "You named everything that it touches.",
        "may_change_something_elsewhere": "It may change something at another service, so a person is asked each time.",
        "sensitive_class": "Calls of this kind always need a person's approval.",
        "not_typed_in_a_session": "The request was not typed by a person in their own session.",
        "undeclared": "Nothing says what this argument is",
        "more_than_an_address_would_leave": "More than an address would leave the company.",
        "address_not_in_your_words": "You did not write out this whole address yourself.",
        "works_within_your_rights": "The other agent may do no more than this one.",
        "not_asked_for": "Nothing in your message plainly asks for this.",
        "own_space_used_up": "This run has already written several notes.",
        "text_not_in_your_words": "This text is not word for word yours",
        "text_for_others": "Others will read this text, and the agent has put it together",
        "not_in_your_words": "Your message does not name this",
        "nothing_names_what_is_meant": "Nothing in the call can be found in your message.",
        "done_before_in_this_run": "The same was already done in this run.",
        "done_in_an_earlier_try": "An earlier try of this message has done the same, or may have.",
        "your_role_does_not_permit_it": "Your role does not permit this.",
        "granted_for_this_conversation": "You have granted calls like this for this conversation.",
        "asked_before": "You were asked about this already, so your answer decides.",
    }
)


def explain(reason: str) -> str:
    """Return a sentence for one of a PolicyDecision's reasons; `word:argument` names the argument."""
    word, colon, argument = reason.partition(":")
    sentence = _SENTENCES.get(word, "The policy has no rule that allows this.")
    return f"{sentence} ({argument})." if colon else sentence


def explain_all(reasons: Iterable[str]) -> str:
    """Return one text for all of a PolicyDecision's reasons, each sentence once."""
    return " ".join(dict.fromkeys(explain(reason) for reason in reasons)) or explain("")
