"""What a tool works with, and which files it reaches."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

from operalta.agents import store as agent_rows
from operalta.db.scope import Scope
from operalta.kernel.ids import ApprovalId, CompanyId, RunId
from operalta.sandbox.errors import NotDeclared
from operalta.sandbox.exchange import EgressLine
from operalta.terms.registry import upholds
from operalta.workspace.files.file_store import FileStore


@dataclass(slots=True)
class ToolWork:
    """What a tool works with: the run's open scope, the approval that it runs under, and what it put on the network.

    `company_id` and `run_id` are there for tools that reach the network: what they ask for is counted for both.
    `by_person` says that a person typed or approved exactly this call, so that what it states is their statement.
    Tools that reach outside get no scope: no transaction stays open while a stranger's server answers or a command
    runs. `reopen` opens one for a moment, and `tell` writes down what the tool says while it is at work.
    """

    scope: Scope | None
    approval_id: ApprovalId | None = None
    by_person: bool = False
    company_id: CompanyId | None = None
    run_id: RunId | None = None
    egress: list[EgressLine] = field(default_factory=list[EgressLine])
    reopen: Callable[[], AbstractAsyncContextManager[Scope]] | None = None
    tell: Callable[[str], Awaitable[None]] | None = None

    @property
    def opened(self) -> Scope:
        """The scope. Raise RuntimeError in a tool that has none, which is a fault of the wiring."""
        if self.scope is None:
            raise RuntimeError("this tool runs without a scope")
        return self.scope

    @property
    def open_scope(self) -> Callable[[], AbstractAsyncContextManager[Scope]]:
        """What opens the run's scope for one transaction. Raise RuntimeError in a tool that has it open anyway."""
        if self.reopen is None:
            raise RuntimeError("this tool has its scope already")
        return self.reopen


@upholds("5.2.1")
async def declared_for(store: FileStore, scope: Scope) -> FileStore:
    """Return the store narrowed to the folders that are declared for the agent of the scope's run.

    Outside a run it is somebody's own right that decides, and nothing is narrowed. A run that another one made reaches
    no more than that one. Read anew for each call, so that a folder that is taken away is out of reach at once. Raise
    NotDeclared where the folders have nothing in common, or where it cannot be seen which they are.
    """
    if scope.actor.run_id is None:
        return store
    declared = await agent_rows.directories_of_run(scope)
    if not declared or None in declared:
        raise NotDeclared
    for directories in filter(None, declared):
        store = store.narrowed_to(*directories)
    return store
