"""Run modules as ``python -m`` does, in processes forked from one that has imported the libraries already.

Importing torch, MONAI and MLflow takes several seconds, which each command would spend again. Requests are JSON lines
on standard input, with ``arguments`` (module first), ``cwd``, ``env``, and the files for ``output`` and exit
``status``.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import runpy
import signal
import sys
import threading
from pathlib import Path
from typing import Any, NoReturn

LIBRARIES = (
    "mlflow",
    "monai.bundle",
    "retina_monai.data",
    "retina_monai.engines",
    "retina_monai.evaluation",
    "retina_monai.handlers",
    "retina_monai.synthesis",
)


def serve() -> None:
    for name in LIBRARIES:
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        if os.fork() == 0:
            supervise(json.loads(line))


def supervise(request: dict[str, Any]) -> NoReturn:
    """Wait for the command and report its exit status, which is negative if a signal killed it."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    child = os.fork()
    if child == 0:
        run(request)
    status = Path(request["status"])
    part = status.with_suffix(".part")
    part.write_text(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])))
    part.rename(status)
    os._exit(0)


def run(request: dict[str, Any]) -> NoReturn:
    output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for target, source in ((0, os.open(os.devnull, os.O_RDONLY)), (1, output), (2, output)):
        os.dup2(source, target)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.argv, sys.path[0] = request["arguments"], request["cwd"]
    sys.stdin = os.fdopen(0)
    code: Any = 0
    try:
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)  # the library's own, or Python's
        code = 1
    for thread in threading.enumerate():  # as at the end of an interpreter
        if not thread.daemon and thread is not threading.current_thread():
            thread.join()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    if isinstance(code, str):
        os.write(2, f"{code}\n".encode())
    os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    serve()
