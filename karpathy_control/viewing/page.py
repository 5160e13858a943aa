"""The page in the browser: rerun's viewer behind a door that lets it talk to this machine alone.

rerun serves a page that would also call its makers' servers (statistics, news of versions, fonts).
So the page is passed on with a content security policy under which the browser lets it reach
nothing but itself and the stream of the data, and rerun's own process runs with statistics off.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType

import rerun_cli

from karpathy_control.contracts.config import ConfigError

LOOPBACK = '127.0.0.1'
_LOCAL = (LOOPBACK, 'localhost')
START = 20.0  # s that rerun may take to start
# The program itself: its Python wrapper would leave it behind when it is ended.
_PROGRAM = Path(rerun_cli.__file__).with_name('rerun')
_PASSED_ON = ('Content-Type', 'Content-Encoding', 'Content-Length', 'Cache-Control', 'ETag')


def policy(host: str, stream_port: int) -> str:
    """The content security policy of the page on `host`."""
    stream = f'http://{host}:{stream_port}'
    return ("default-src 'none'; script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval'; "
            "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
            f"worker-src 'self' blob:; connect-src 'self' data: blob: {stream}")


def target(host: str, stream_port: int) -> str:
    """Path and query under which the viewer shows the stream."""
    stream = urllib.parse.quote(f'rerun+http://{host}:{stream_port}/proxy', safe='')
    return f'/?url={stream}&hide_welcome_screen'


class Page:
    """rerun's server with its viewer, on `host` and `port`; a context manager.

    `bound` is a command that starts the one after it so that it ends with this process. Raises
    ConfigError where rerun does not start or the port is taken.
    """

    def __init__(self, host: str, port: int, memory: str, bound: Sequence[str]) -> None:
        self._home = tempfile.TemporaryDirectory(prefix='karpathy_control_view_')
        settings = Path(self._home.name) / 'rerun'
        settings.mkdir()
        (settings / 'analytics.json').write_text(json.dumps({
            'analytics_enabled': False, 'analytics_id': '', 'metadata': {}}))
        here = LOOPBACK if host == '0.0.0.0' else host  # where we find what listens there
        self.stream_port, inner = _free_port(host), _free_port(host)
        try:
            self._door = _Door(host, port, self.stream_port, f'http://{here}:{inner}')
        except OSError as error:
            self._home.cleanup()
            raise ConfigError(f'--host {host} --port {port}: {error.strerror}; choose another '
                              'with --port') from None
        cors = () if host == LOOPBACK else ('--cors-allow-origin', 'http://*')
        self._log = Path(self._home.name) / 'log'  # a pipe that nobody reads would fill up
        with self._log.open('w') as log:
            self._rerun = subprocess.Popen(
                [*bound, str(_PROGRAM), '--serve-web', '--bind', host, '--port',
                 str(self.stream_port), '--web-viewer-port', str(inner), '--server-memory-limit',
                 memory, *cors],
                env={**os.environ, 'XDG_CONFIG_HOME': self._home.name}, stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=log,
                start_new_session=True)  # a Ctrl-C in the terminal is for us alone
        self._wait()
        threading.Thread(target=self._door.serve_forever, daemon=True).start()
        self.stream = f'rerun+http://{here}:{self.stream_port}/proxy'
        self.url = f'http://{host}:{self._door.server_address[1]}/'

    def _wait(self) -> None:
        end = time.monotonic() + START
        while self._rerun.poll() is None and time.monotonic() < end:
            try:
                with urllib.request.urlopen(self._door.inner, timeout=1.0):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)
        self._rerun.kill()
        said = self._log.read_text(errors='replace').strip().splitlines()
        self.close()
        raise ConfigError(f'rerun did not start: {said[-1] if said else "no word from it"}')

    def close(self) -> None:
        """End the servers."""
        self._rerun.terminate()
        self._rerun.wait()
        self._door.server_close()
        self._home.cleanup()

    def __enter__(self) -> Page:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._door.shutdown()
        self.close()


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


class _Door(ThreadingHTTPServer):
    """Passes the files of rerun's viewer on, under the policy."""

    daemon_threads = True

    def __init__(self, host: str, port: int, stream_port: int, inner: str) -> None:
        self.stream_port = stream_port
        self.inner = inner  # address of rerun's own server
        self.known = _LOCAL if host == LOOPBACK else None
        super().__init__((host, port), _Pass)


class _Pass(BaseHTTPRequestHandler):
    """One request."""

    server: _Door

    def do_GET(self) -> None:
        """Send the browser to the stream, or a file of the viewer."""
        host = urllib.parse.urlsplit(f'//{self.headers.get("Host", LOOPBACK)}').hostname
        host = host or LOOPBACK
        if self.server.known is not None and host not in self.server.known:
            self.send_error(403)  # another site's name was made to mean this machine
            return
        where = urllib.parse.urlsplit(self.path)
        if where.path == '/' and 'url=' not in where.query:
            self.send_response(302)
            self.send_header('Location', target(host, self.server.stream_port))
            self.send_header('Content-Length', '0')
            self.end_headers()
            return
        try:
            with urllib.request.urlopen(self.server.inner + where.path, timeout=30.0) as answer:
                body = answer.read()
                found = answer.headers
        except urllib.error.HTTPError as error:
            self.send_error(error.code)
            return
        except OSError:
            self.send_error(502)
            return
        self.send_response(200)
        for name in _PASSED_ON:
            if name in found:
                self.send_header(name, found[name])
        if 'Content-Length' not in found:
            self.send_header('Content-Length', str(len(body)))
        self.send_header('Content-Security-Policy', policy(host, self.server.stream_port))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Keep still: the terminal is the user's."""
