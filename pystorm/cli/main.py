"""The `pystorm` command: what happens around every command. The commands themselves are in `app`.

Exit codes: 0 fine, 1 the topology failed (or pystorm did), 2 the command or a file is wrong, 130 stopped by Ctrl-C.

Theory of operation. Every way out of a command leads through `main`, which turns it into one clear message on stderr
and an exit code; nothing is imported before it stands, so that Ctrl-C at any moment leaves no traceback. A reader that
goes away (`pystorm state dump ... | head`) is no error: what it wanted to read it has.
"""

from __future__ import annotations

import os
import sys

#: Exit codes that are not an outcome of a run.
EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130


def main() -> None:
    """Entry point."""
    code = EXIT_INTERRUPTED
    try:
        code = _run_command()
    except KeyboardInterrupt:
        _say("interrupted")
    sys.exit(code)


def _run_command() -> int:
    """Run the command that the arguments name; its exit code."""
    from pystorm.cli.output import OutputClosed, flush_output
    from pystorm.errors import InternalError, PystormError, UserError

    try:
        code = _dispatch()
        flush_output()
        return code
    except OutputClosed:
        return 0
    except UserError as error:
        _say(_user_message(error))
        return EXIT_USAGE
    except InternalError as error:
        return _report_bug(error)
    except PystormError as error:
        _say(f"error: {error}")
        return EXIT_FAILED
    except Exception as error:  # the process's boundary: shown with its traceback
        return _report_bug(error)


def _dispatch() -> int:
    import click

    from pystorm.cli.app import cli

    try:
        code = cli.main(prog_name="pystorm", standalone_mode=False)
    except click.Abort:
        raise KeyboardInterrupt from None
    except click.ClickException as error:
        error.show()
        return error.exit_code
    return code if isinstance(code, int) else 0


def _user_message(error: Exception) -> str:
    """One mistake with a label before it; many as a list with their number."""
    from pystorm.errors import TopologyError

    if not isinstance(error, TopologyError):
        return f"error: {error}"
    number = len(error.problems)
    return f"{error}\n{number} problem{'' if number == 1 else 's'}"


def _report_bug(error: Exception) -> int:
    import traceback

    from pystorm import __version__

    _say("".join(traceback.format_exception(error)).rstrip())
    python = ".".join(map(str, sys.version_info[:3]))
    _say(f"error: this is a bug in pystorm {__version__} (Python {python}); please report it with the lines above")
    return EXIT_FAILED


def _say(text: str) -> None:
    """A message for people; if nobody can read it, the exit code still says enough."""
    if sys.stderr is None:
        return
    try:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
    except OSError:
        # The interpreter would try again at its end, and change the exit code when that fails too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


if __name__ == "__main__":
    main()
