"""The command `interproc`: finds the subcommand that was asked for and returns its exit code."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib.metadata import version

from interproc.cli import graph, tour

COMMANDS = (tour, graph)  # each has NAME, HELP, configure(parser) and run(arguments, parser) -> exit code


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("interproc", description="Processes that talk through shared memory.")
    parser.add_argument("--version", action="version", version=f"interproc {version('interproc')}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for command in COMMANDS:
        own = commands.add_parser(command.NAME, help=command.HELP, description=command.__doc__)
        command.configure(own)
        own.set_defaults(command=command, parser=own)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (the process's own unless given); returns the exit code.

    Raises:
        SystemExit: from argparse, with 2, when the line makes no sense; with 0 after --help and --version.
    """
    parser = make_parser()
    arguments = parser.parse_args(argv)
    if not hasattr(arguments, "command"):
        parser.print_help()
        return 0
    code: int = arguments.command.run(arguments, arguments.parser)
    return code
