"""The worker process, wired: agents' runs, mail and SMS, the sealing of the audit log, maintenance."""

import asyncio
import signal

import structlog

from operalta.agents.dispatch import Dispatcher
from operalta.agents.model_routes.operators_file import operators_routes
from operalta.agents.routes import RouteRegistry, builtin_route
from operalta.agents.runner import Runner
from operalta.agents.schedules.beginning import Beginner
from operalta.agents.shell_tool import Shell
from operalta.agents.tool_functions import bound_registry
from operalta.agents.way_out import doors, model_doors
from operalta.audit.heads import HeadDirectory
from operalta.audit.sealer import Sealer
from operalta.db.pools import Pool
from operalta.delivery.sender import Sender
from operalta.guard.limiter import Limiter
from operalta.jobs import maintenance
from operalta.jobs.queue import make_queue
from operalta.jobs.queue import work as work_queue
from operalta.kernel import logging
from operalta.operations.root_keys import root_keys
from operalta.operations.rotation.deployment import COMPANY_KEYS
from operalta.sandbox.errors import ShellUnavailable
from operalta.sandbox.files import FileLimits
from operalta.sandbox.reading.reader import DocumentReader
from operalta.sandbox.shell.profile import Profile
from operalta.sandbox.shell.rules import MEBIBYTE, CommandLimits
from operalta.sandbox.shell.runner import CommandRunner
from operalta.sandbox.shell.self_test import self_test
from operalta.sandbox.shell.state import ShellState, state_of, write_state
from operalta.sealing.company_keys import CompanyKeys
from operalta.sealing.envelope import Envelope
from operalta.sealing.signing import SigningKeyRing, SigningPurpose
from operalta.settings import DatabaseRole, Settings
from operalta.vault.integrations.calls import IntegrationCalls
from operalta.vault.oauth.client import OAuthClient
from operalta.vault.oauth.revoking import Revoker
from operalta.vault.oauth.tokens import ConnectionTokens
from operalta.vault.opening import Opener
from operalta.vault.secrets import Secrets
from operalta.vault.webhooks.sending import WebhookSender
from operalta.workspace.files.file_store import FileStore

log = structlog.get_logger(__name__)


def work(settings: Settings) -> None:
    """Work until SIGTERM; what is under way is finished or goes back to the queue."""
    logging.configure()
    asyncio.run(_work(settings))


async def _work(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    pools = {
        DatabaseRole.WORKER: _pool(settings, DatabaseRole.WORKER),
        DatabaseRole.JOB: _pool(settings, DatabaseRole.JOB),
        DatabaseRole.DISPATCH: Pool(
            DatabaseRole.DISPATCH, settings.database_dsn(DatabaseRole.DISPATCH), 4, search_path="jobs,pg_catalog"
        ),
    }
    for pool in pools.values():
        await pool.open()
    dispatcher = Dispatcher(pools[DatabaseRole.DISPATCH])
    files = FileStore(settings.workspaces_path, FileLimits(file_bytes=settings.upload_limit_bytes))

    shell, commands = await _shell(settings)
    limiter = Limiter(settings.redis_address, digest_key=settings.secret("limit-key"))
    make_door = doors(settings, limiter)
    routes = RouteRegistry([builtin_route(), *operators_routes(settings, model_doors(settings, limiter))])
    roots = root_keys(settings)
    envelope = Envelope(CompanyKeys(settings.var / COMPANY_KEYS, roots))
    opener, oauth = Opener(envelope), OAuthClient(make_door)
    connection_tokens = ConnectionTokens(pools[DatabaseRole.WORKER], opener, Secrets(envelope), oauth)
    integrations = IntegrationCalls(opener, connection_tokens, make_door)
    runner = Runner(
        pools[DatabaseRole.WORKER],
        dispatcher,
        bound_registry(files, make_door, shell, commands, integrations),
        routes,
        files,
    )
    sender = Sender(pools[DatabaseRole.JOB], settings)
    queue = make_queue(
        settings.database_dsn(DatabaseRole.DISPATCH), run_agent=runner.run, deliver_message=sender.deliver
    )
    ring = SigningKeyRing(settings.var / "signing-keys", roots, SigningPurpose.AUDIT)
    sealer = Sealer(pools[DatabaseRole.JOB], ring.current, HeadDirectory(settings.var / "audit-heads"))
    revoker = Revoker(pools[DatabaseRole.JOB], opener, oauth)
    beginner = Beginner(pools[DatabaseRole.JOB])
    webhooks = WebhookSender(pools[DatabaseRole.JOB], opener, make_door)

    async def rescue() -> None:
        for run in await dispatcher.rescue():
            log.warning("a run was taken up again", run=str(run))

    log.info("the worker is ready")
    try:
        async with queue.open_async(), asyncio.TaskGroup() as group:
            group.create_task(work_queue(queue, stop))
            group.create_task(sealer.run(stop))
            group.create_task(revoker.run(stop))
            group.create_task(webhooks.run(stop))
            group.create_task(beginner.run(stop))
            group.create_task(maintenance.remind(pools[DatabaseRole.JOB], stop))
            group.create_task(maintenance.forget(pools[DatabaseRole.JOB], stop))
            group.create_task(maintenance.run(pools[DatabaseRole.DISPATCH], stop, rescue))
    finally:
        await connection_tokens.close()
        for pool in pools.values():
            await pool.close()
        await limiter.close()
        if commands is not None:
            await commands.runner.close()


async def _shell(settings: Settings) -> tuple[ShellState, Shell | None]:
    """Test the sandbox, leave the outcome for others to read, and return what runs commands if it held."""
    profile = Profile(
        CommandLimits(seconds=settings.command_seconds, memory_bytes=settings.command_memory_mib * MEBIBYTE)
    )
    verdict = await self_test(profile, settings.run_path)
    state = state_of(verdict)
    write_state(settings.shell_state_file, state)
    if not state.available:
        log.warning("there is no shell", reason=verdict.reason)
        return state, None
    runner = CommandRunner(profile)
    try:
        await runner.start()
    except ShellUnavailable as unavailable:
        log.warning("no sandbox waits yet", reason=unavailable.public_text)
    return state, Shell(runner, DocumentReader(lambda: True), settings.command_hosts)


def _pool(settings: Settings, role: DatabaseRole) -> Pool:
    return Pool(role, settings.database_dsn(role), settings.database_pool_size)
