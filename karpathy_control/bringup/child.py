"""Becomes the command that it is given, bound to the life of its starter.

    python -I -S child.py STARTER_PID COMMAND [ARGUMENT ...]

A file of its own, run without site packages, since code between fork and exec is not safe in a
process with threads. The kernel kills the command when the thread that started it ends, so even
kill -9 of the starter leaves no orphan; the setting survives exec.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
EXIT_ALONE = 127


def main() -> None:
    """Bind, restore SIGINT, exec."""
    starter, *command = sys.argv[1:]
    if ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        sys.exit(EXIT_ALONE)
    if os.getppid() != int(starter):  # it died before prctl
        sys.exit(EXIT_ALONE)
    # A starter in the background of a shell ignores SIGINT, and the command would inherit that.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.execvp(command[0], command)


if __name__ == '__main__':
    main()
