"""Talks to `observer` and `injector` over JSON lines, so that tools and tests need no ROS."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any

Event = dict[str, Any]
LAST_WORDS = 5  # lines that an error repeats


class ObserverError(RuntimeError):
    """The process ended or stayed silent; the text says which, with its last words."""


class ObserverClient:
    """A running observer: events come out, commands go in. A context manager."""

    NODE = 'observer'

    def __init__(self, arguments: Sequence[str] = (), environment: Mapping[str, str] | None = None,
                 ) -> None:
        self._process = subprocess.Popen(
            [sys.executable, '-m', f'karpathy_control.nodes.{self.NODE}', *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            bufsize=1, env=None if environment is None else dict(environment))
        self._events: queue.Queue[Event | None] = queue.Queue()
        self._errors: deque[str] = deque(maxlen=LAST_WORDS)
        self.status: Event = {}  # the last status
        threading.Thread(target=self._read, daemon=True).start()
        threading.Thread(target=self._read_errors, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            try:
                event = json.loads(line)
            except ValueError:
                self._errors.append(line.rstrip())
                continue
            self._events.put(event)
        self._events.put(None)

    def _read_errors(self) -> None:
        assert self._process.stderr is not None
        self._errors.extend(line.rstrip() for line in self._process.stderr)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def send(self, **command: Any) -> None:
        """Send one command, see the file of the node."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + '\n')
        self._process.stdin.flush()

    def events(self, timeout: float) -> Iterator[Event]:
        """Events as they come, until the process ends.

        Raises ObserverError where none comes for `timeout` seconds.
        """
        while True:
            try:
                event = self._events.get(timeout=timeout)
            except queue.Empty:
                raise ObserverError(f'the {self.NODE} was silent for {timeout} s: '
                                    + ' | '.join(self._errors)) from None
            if event is None:
                return
            if event['event'] == 'status':
                self.status = event
            yield event

    def pump(self, seconds: float) -> list[Event]:
        """What comes within `seconds`. Raises ObserverError where the process ends."""
        end = time.monotonic() + seconds
        found = []
        while (left := end - time.monotonic()) > 0.0:
            try:
                event = self._events.get(timeout=left)
            except queue.Empty:
                break
            if event is None:
                raise ObserverError(f'the {self.NODE} ended: ' + ' | '.join(self._errors))
            if event['event'] == 'status':
                self.status = event
            found.append(event)
        return found

    def wait_for(self, accept: Callable[[Event], bool], timeout: float, what: str = '') -> Event:
        """The first event that is accepted. Raises ObserverError after `timeout` seconds."""
        end = time.monotonic() + timeout
        for event in self.events(timeout):
            if accept(event):
                return event
            if time.monotonic() > end:
                break
        raise ObserverError(f'no {what or "such event"} within {timeout} s; last status: '
                            f'{self.status}; ' + ' | '.join(self._errors))

    def wait_for_status(self, accept: Callable[[Event], bool], timeout: float,
                        what: str = '') -> Event:
        """The first status that is accepted."""
        return self.wait_for(lambda e: e['event'] == 'status' and accept(e), timeout, what)

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        try:
            self._process.wait(5.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> ObserverClient:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()


class InjectorClient(ObserverClient):
    """A running injector, see nodes/injector.py."""

    NODE = 'injector'
