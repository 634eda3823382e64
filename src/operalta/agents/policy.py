"""The tool policy: may this exact call happen without asking, must a person be asked, or is it denied? Pure.

The model is taken to belong to an attacker from its first token. So it does not matter what a run has read;
what matters is whether the call's arguments are what the person asked for: literal in their own words, in a
first-party directory, or bound to a record that they named. What no rule allows is asked. Deny wins, and
settings of a company or an agent can only tighten.

Unsafe in principle, and left to people: persuasion inside a text that was approved, nuisance in one's own
space, a bit hidden in the choice or time of an allowed call, wrong data in an approved card, and a pasted
passage that nothing marks as pasted.
"""

from collections.abc import Mapping
from typing import cast

from pydantic import BaseModel, ValidationError

from operalta.agents import commands
from operalta.agents.canonical import JsonValue, canonical_bytes, sha256_of
from operalta.agents.decision_context import DecisionContext, Outcome, PolicyDecision, TargetFacts, ToolSettings
from operalta.agents.dictation import is_clean
from operalta.agents.errors import ArgumentsNotCanonical
from operalta.agents.literals import has_hidden
from operalta.agents.provenance import Origin, PersonWords, Sentence, literal
from operalta.agents.registry import SinkType, ToolClass, ToolDeclaration, UnknownTool, tool_hash
from operalta.agents.vouching import Given, given_values, is_vouched
from operalta.terms.registry import upholds

OWN_SPACE_CALLS = 3
ASKED_EACH_TIME = "may_change_something_elsewhere"  # no grant answers this question
LONGEST_CALL = 95_000  # characters of canonical JSON: a card shows all of it
_STRICTNESS = {Outcome.ALLOW: 0, Outcome.ASK: 1, Outcome.DENY: 2}


def accept_arguments(tool: ToolDeclaration, arguments: Mapping[str, object]) -> BaseModel | None:
    """Return the arguments as the tool's own model, or None where they do not fit it. Nothing is coerced."""
    try:
        return tool.arguments.model_validate(dict(arguments), strict=True)
    except ValidationError:
        return None


def plain_arguments(arguments: BaseModel) -> dict[str, JsonValue]:
    """Return validated arguments as JSON, defaults included: the form that is hashed, shown and run."""
    return cast("dict[str, JsonValue]", arguments.model_dump(mode="json"))


def call_key(tool: ToolDeclaration, arguments: Mapping[str, JsonValue]) -> str:
    """Return what "once per tool, recipients and record" counts: a hash of all arguments but the texts."""
    texts = {SinkType.BODY, SinkType.QUERY}
    kept = {name: value for name, value in arguments.items() if tool.sinks.get(name) not in texts}
    return sha256_of({"tool": tool.name, "arguments": kept})


@upholds("5.3.3", "5.5.1", "5.5.2")
def decide(
    tool: ToolDeclaration | UnknownTool, arguments: Mapping[str, object], context: DecisionContext
) -> PolicyDecision:
    """Decide about one call. Never raises; what cannot be judged is denied."""
    if isinstance(tool, UnknownTool):
        return PolicyDecision(Outcome.DENY, ("unknown_tool",))
    refusal = _refusal(tool, context.settings)
    if refusal is not None:
        return PolicyDecision(Outcome.DENY, (refusal,))
    accepted = accept_arguments(tool, arguments)
    if accepted is None:
        return PolicyDecision(Outcome.DENY, ("arguments_do_not_fit",))
    plain = plain_arguments(accepted)
    unusable = _unusable(plain)
    if unusable is not None:
        return PolicyDecision(Outcome.DENY, (unusable,))
    return _tightened(_judge(tool, plain, context), tool, context.settings)


def _unusable(arguments: Mapping[str, JsonValue]) -> str | None:
    """Tell why arguments could not be hashed, kept or shown whole."""
    try:
        text = canonical_bytes(arguments).decode()
    except ArgumentsNotCanonical:
        return "arguments_not_canonical"
    if any(isinstance(value, str) and "\x00" in value for value in arguments.values()):
        return "arguments_not_canonical"
    return "arguments_too_long" if len(text) > LONGEST_CALL else None


def _refusal(tool: ToolDeclaration, settings: ToolSettings) -> str | None:
    if not tool.available:
        return "not_available_here"
    if tool.name not in settings.enabled:
        return "not_switched_on_for_the_company"
    if tool.name not in settings.granted:
        return "not_granted_to_the_agent"
    if settings.pinned.get(tool.name, pin := tool_hash(tool)) != pin:
        return "definition_has_changed"
    return None


def _tightened(decision: PolicyDecision, tool: ToolDeclaration, settings: ToolSettings) -> PolicyDecision:
    for source, outcomes in (("company", settings.company), ("agent", settings.agent)):
        outcome = outcomes.get(tool.name, Outcome.ALLOW)
        if _STRICTNESS[outcome] > _STRICTNESS[decision.outcome]:
            decision = PolicyDecision(outcome, (f"{source}_setting", *decision.reasons))
    return decision


def _allow(*reasons: str) -> PolicyDecision:
    return PolicyDecision(Outcome.ALLOW, reasons)


def _ask(*reasons: str) -> PolicyDecision:
    return PolicyDecision(Outcome.ASK, reasons)


# Who is handed a task reads what this run may read; what it would change is judged anew, its task vouching for nothing.
_PASSING = {ToolClass.READ: "internal_read", ToolClass.DELEGATE: "works_within_your_rights"}


def _judge(tool: ToolDeclaration, arguments: Mapping[str, JsonValue], context: DecisionContext) -> PolicyDecision:
    if tool.tool_class in _PASSING:
        return _allow(_PASSING[tool.tool_class])
    if tool.asks_each_time(arguments):
        return _ask(ASKED_EACH_TIME)
    if is_typed_command(tool, arguments, context.words):
        # Typing it once is one approval; a model that repeats it needs another.
        used = call_key(tool, arguments) in context.passed
        return _ask("done_before_in_this_run") if used else _allow("typed_as_a_command")
    reasons = _always_asked(tool, arguments, context)
    if reasons:
        return _ask(*reasons)
    if tool.tool_class is ToolClass.EGRESS:
        return _judge_egress(tool, arguments, context)
    return _judge_write(tool, arguments, context)


def _always_asked(
    tool: ToolDeclaration, arguments: Mapping[str, JsonValue], context: DecisionContext
) -> tuple[str, ...]:
    if tool.tool_class.is_sensitive:
        return ("sensitive_class",)
    if context.words.origin is not Origin.SESSION:
        return ("not_typed_in_a_session",)
    return tuple(f"undeclared:{name}" for name in sorted(set(arguments) - set(tool.sinks)))


def is_typed_command(tool: ToolDeclaration, arguments: Mapping[str, JsonValue], words: PersonWords) -> bool:
    """Tell whether the person typed exactly this call as a slash command in their own session.

    A command with characters that nobody can see was not typed as it is shown, so it does not count.
    """
    if words.origin is not Origin.SESSION or has_hidden(words.text):
        return False
    command = commands.parse(words.text)
    if not isinstance(command, commands.Command) or not command.typed or command.tool != tool.name:
        return False
    typed = accept_arguments(tool, command.arguments)
    return typed is not None and plain_arguments(typed) == dict(arguments)


def _judge_egress(
    tool: ToolDeclaration, arguments: Mapping[str, JsonValue], context: DecisionContext
) -> PolicyDecision:
    """Allow a request whose every argument is an address that a person wrote out in full."""
    given = given_values(tool, arguments)
    addresses = [one.value for one in given if one.sink is SinkType.URL]
    if not addresses and tool.asks_unless is not None:
        return _judge_service(tool, given, context)
    if not addresses or len(addresses) != len(given):
        return _ask("more_than_an_address_would_leave")
    speakers = (context.words, *context.colleagues)
    for address in addresses:
        if not any(literal(words, words.consenting, address, SinkType.URL) for words in speakers):
            return _ask("address_not_in_your_words")
    return _allow("address_in_your_words")


def _judge_service(tool: ToolDeclaration, given: list[Given], context: DecisionContext) -> PolicyDecision:
    """Allow what only reads from a service where each part of it stands in a sentence that asks for it."""
    intent = context.words.intends(tool.verbs)
    named = [one for one in given if one.sink is not SinkType.CHOICE]
    missing = [one.name for one in named if not literal(context.words, intent, one.value, one.sink)]
    return _ask(*(f"not_in_your_words:{name}" for name in missing)) if missing else _allow("all_named_by_you")


def _judge_write(tool: ToolDeclaration, arguments: Mapping[str, JsonValue], context: DecisionContext) -> PolicyDecision:
    if context.facts.changes_nothing:
        return _allow("changes_nothing")
    labels = frozenset[str]().union(*tool.bindings.labels.values())
    intent = context.words.intends(tool.verbs, labels, tool.bindings.objects, as_request=tool.bindings.as_request)
    if not intent:
        return _ask("not_asked_for")
    given = given_values(tool, arguments)
    if tool.tool_class is ToolClass.WRITE_OWN and _is_own_space(tool, given, context.facts):
        return _judge_own_space(tool, arguments, given, intent, context)
    return _judge_shared(tool, arguments, given, intent, context)


def _is_own_space(tool: ToolDeclaration, given: list[Given], facts: TargetFacts) -> bool:
    """Tell whether a write stays in the person's own space: new, private, and where new things belong; or kept there.

    What is there already counts only where the tool can be undone.
    """
    is_new = facts.is_new is True and facts.is_private is True
    if not is_new and not (facts.is_kept and tool.reversible):
        return False
    outward = {SinkType.PERSON, SinkType.ADDRESS, SinkType.ACCOUNT, SinkType.URL}
    if any(one.sink in outward for one in given):
        return False
    paths = [one.value for one in given if one.sink is SinkType.PATH]
    return all(tool.own_folder is not None and _is_below(tool.own_folder, path) for path in paths)


def _is_below(folder: str, path: str) -> bool:
    parts = path.removeprefix(folder).split("/")
    tidy = all(part not in {"", ".", ".."} and not part.startswith(".") for part in parts)
    return path.startswith(folder) and tidy and path.isprintable() and "\\" not in path


def _judge_own_space(
    tool: ToolDeclaration,
    arguments: Mapping[str, JsonValue],
    given: list[Given],
    intent: tuple[Sentence, ...],
    context: DecisionContext,
) -> PolicyDecision:
    """Allow a few writes that only the person sees, in their words or, where the author says so, in clean ones."""
    if context.own_space_calls >= OWN_SPACE_CALLS:
        return _ask("own_space_used_up")
    for one in given:
        if one.sink is SinkType.BODY and not (
            literal(context.words, context.words.consenting, one.value, one.sink)
            or (tool.bindings.clean_text and is_clean(one.value))
        ):
            return _ask(f"text_not_in_your_words:{one.name}")
        if one.sink is SinkType.RECORD and not is_vouched(tool, one, arguments, intent, context):
            return _ask(f"not_in_your_words:{one.name}")
    return _allow("own_space")


def _judge_shared(
    tool: ToolDeclaration,
    arguments: Mapping[str, JsonValue],
    given: list[Given],
    intent: tuple[Sentence, ...],
    context: DecisionContext,
) -> PolicyDecision:
    """Allow what others will see only when it goes to named recipients and carries no composed text.

    A part of a sentence can say the opposite of the whole, so a text for others counts only when it was typed as a
    command (which has been looked at before) or, where the tool's author says so, dictated as a whole.
    """
    reasons = [
        f"text_for_others:{one.name}" if one.sink is SinkType.BODY else f"not_in_your_words:{one.name}"
        for one in given
        if not is_vouched(tool, one, arguments, intent, context)
    ]
    if reasons:
        return _ask(*reasons)
    if not any(one.sink is not SinkType.CHOICE for one in given):
        return _ask("nothing_names_what_is_meant")
    if call_key(tool, arguments) in context.passed:
        return _ask("done_before_in_this_run")
    return _allow("all_named_by_you")
