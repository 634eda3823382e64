"""`operalta up`, but for a worker whose runs are long: `python -m tests.faults.long_working PAGE_PORT`.

All else is the product's own, settings from the environment included: what dies is started again by its supervisor.
"""

import os
import sys

from operalta.operations import supervisor
from operalta.settings import load_settings

_WORKER = """
import sys
from tests.faults import forking_worker
forking_worker.install({port})
sys.argv = ["operalta", "worker"]
from operalta.cli import main
main()
"""


def main() -> None:
    """Run until SIGINT or SIGTERM; say `ready` on a line of its own."""
    port = int(sys.argv[1])
    real = supervisor.tied_to_parent

    def with_long_runs(signal_name: str, command: list[str]) -> list[str]:
        if command[1:] == ["-m", "operalta", "worker"]:
            command = [command[0], "-c", _WORKER.format(port=port)]
        return real(signal_name, command)

    supervisor.tied_to_parent = with_long_runs
    os.environ["OPERALTA_EGRESS_EXEMPTIONS"] = f'["127.0.0.1:{port}"]'

    def say(text: str) -> None:
        print(text, flush=True)  # noqa: T201 - whoever started it reads it

    supervisor.Supervisor(load_settings(), say).run(lambda _link: say("ready"))


if __name__ == "__main__":
    main()
