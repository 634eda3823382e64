"""Saboteurs of agents: models that nobody approved, words that are written down, and eyes for what is not theirs."""

from collections.abc import Generator

from operalta.assurance.stage import Stage
from tests.saboteurs.saboteurs import as_superuser, saboteur
from tests.saboteurs.throw_away import WORKER, patched

# ── Model routes ──────────────────────────────────────────────────────────────────────────────────────


@saboteur("5.6.1", spares=("5.6.4", "5.1.1", "5.5.3"), soak=True)
def no_approval_is_needed(stage: Stage) -> Generator[None]:
    patch = """
from operalta.agents.route_rules import ListedRoute
ListedRoute.is_approved = property(lambda self: True)
"""
    with patched(stage, WORKER, patch):
        yield


@saboteur("5.6.1", spares=("5.6.4", "5.1.1", "5.5.3"), soak=True)
def what_is_withdrawn_is_asked_all_the_same(stage: Stage) -> Generator[None]:
    patch = """
from operalta.agents.model_routes import ledger
from operalta.agents.routes import RouteRegistry
RouteRegistry.usable = lambda self, slug, company: self.known(slug)
"""
    with patched(stage, WORKER, patch):
        yield


@saboteur("5.6.4", spares=("5.6.1", "5.1.1", "7.2.1", "7.3.3"), soak=True)
def prompts_are_written_to_the_log(stage: Stage) -> Generator[None]:
    patch = """
import json
import logging
from operalta.agents.model_routes.provider_model import ProviderModel
encode = ProviderModel._encoded
def told(self, prompt):
    body = encode(self, prompt)
    logging.getLogger("model").info("asked: %s", json.loads(body)["messages"][-1])
    return body
ProviderModel._encoded = told
"""
    with patched(stage, WORKER, patch):
        yield


@saboteur("5.6.4", spares=("5.6.1", "5.1.1", "7.3.3"), soak=True)
def what_providers_say_to_us_is_written_to_the_log(stage: Stage) -> Generator[None]:
    patch = """
import logging
from operalta.agents.model_routes import provider_model
read = provider_model.json_events
async def told(chunks):
    async for event in read(chunks):
        logging.getLogger("model").warning("answered: %s", event)
        yield event
provider_model.json_events = told
"""
    with patched(stage, WORKER, patch):
        yield


@saboteur("5.6.4", spares=("5.6.1", "5.1.1", "5.5.3"), soak=True)
def the_queue_carries_what_was_asked(stage: Stage) -> Generator[None]:
    with as_superuser(stage) as connection:
        connection.execute(
            "CREATE FUNCTION public.sabotage() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = ''"
            " AS $$ BEGIN NEW.queueing_lock := (SELECT left(said.body, 80) || NEW.id FROM agents.runs AS run"
            " JOIN workspace.messages AS said ON said.company_id = run.company_id AND said.id = run.message_id"
            " WHERE run.id::text = NEW.args ->> 'subject'); RETURN NEW; END $$"
        )
        connection.execute(
            "CREATE TRIGGER sabotage BEFORE INSERT ON jobs.procrastinate_jobs FOR EACH ROW"
            " EXECUTE FUNCTION public.sabotage()"
        )
        try:
            yield
        finally:
            connection.execute("DROP TRIGGER sabotage ON jobs.procrastinate_jobs")
            connection.execute("DROP FUNCTION public.sabotage()")
