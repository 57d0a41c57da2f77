"""How every command line starts and ends: parsing with cyclopts, one message for bad input, the exit codes.

0 done, 1 a fault of the program, 2 bad input, 3 the study is held by another driver, 4 it is paused or stopped by
something to be put right first, 130 interrupted.
"""

import errno
import io
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Any, NoReturn

import cyclopts

from trainers.errors import UserError
from trainers.quiet import silence_libraries
from trainers.visible import for_terminal

FAULT = 1
BAD_INPUT = 2
INTERRUPTED = 130

_OF_A_PATH = {
    errno.ENAMETOOLONG,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ELOOP,
    errno.ENOTDIR,
    errno.EISDIR,
}
"""What a system says of a path that was named; a missing file may be a fault of the program."""


def command(function: Callable[..., int | None], *, name: str) -> NoReturn:
    """Parse ``sys.argv`` for ``function``, call it, and leave the process with the right exit code.

    ``function`` returns its exit code, or None for 0. A ``UserError`` becomes its message on stderr and exit code 2.
    SIGTERM, which a machine sends before it is taken away, is the same as Ctrl-C. Libraries are silenced.
    """
    silence_libraries()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # As stderr does by itself: a path may hold what the terminal's encoding has not.
        sys.stdout.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGTERM, interrupt)
    # A script that starts a command with `&` has it ignore interrupts, which are also how a search stops itself.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.unraisablehook = _interrupt_again
    # Its own way to end at Ctrl-C would be without a word.
    app = cyclopts.App(name=name, help_format="markdown", version_flags=[], suppress_keyboard_interrupt=False)
    app.default(function)
    try:
        code = app(sys.argv[1:], exit_on_error=False, print_error=False, result_action="return_value")
    except UserError as error:
        print(for_terminal(str(error)), file=sys.stderr)
        code = BAD_INPUT
    except cyclopts.CycloptsError as error:
        print(for_terminal(f"{error}\nRun `{name} --help` for what is allowed."), file=sys.stderr)
        code = BAD_INPUT
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = INTERRUPTED
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _OF_A_PATH and error.filename:
            said = f"{error.filename}: {error.strerror}. Give another path, or let it be read and written.\n"
            code = BAD_INPUT
        else:
            # A fault of this program, in full, but a driver's own message may hold the address it was given.
            said, code = traceback.format_exc(), FAULT
        print(for_terminal(said), file=sys.stderr, end="")
    sys.exit(_exit_code(code))


def interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """Handle a signal as Ctrl-C is handled."""
    raise KeyboardInterrupt


def _interrupt_again(error: "sys.UnraisableHookArgs") -> None:
    """What is raised while Python destroys an object is dropped; an interrupt that came just then ended nothing."""
    if not (isinstance(error.exc_value, KeyboardInterrupt) and threading.current_thread() is threading.main_thread()):
        sys.__unraisablehook__(error)
        return
    again = threading.Timer(0.01, signal.pthread_kill, [threading.main_thread().ident, signal.SIGINT])
    again.daemon = True
    again.start()


def _exit_code(result: Any) -> int:
    return result if isinstance(result, int) else 0
