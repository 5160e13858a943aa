"""The page as a browser gets it, over the loopback interface."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from karpathy_control.bringup.environment import bound
from karpathy_control.contracts.config import ConfigError

pytest.importorskip('rerun', reason='rerun-sdk is not installed')
from karpathy_control.viewing.page import LOOPBACK, Page, policy, target


class Stay(urllib.request.HTTPRedirectHandler):
    """Shows a redirection instead of following it."""

    def redirect_request(self, *args):
        return None


@pytest.fixture(scope='module')
def page():
    with Page(LOOPBACK, 0, '50MB', bound()) as made:
        yield made


def listening(port):
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0


def test_the_first_page_sends_the_browser_to_the_stream(page):
    with pytest.raises(urllib.error.HTTPError) as found:
        urllib.request.build_opener(Stay).open(page.url)
    assert found.value.code == 302
    where = found.value.headers['Location']
    assert where == target(LOOPBACK, page.stream_port)
    query = urllib.parse.parse_qs(urllib.parse.urlsplit(where).query)
    assert query['url'] == [page.stream] and listening(page.stream_port)


@pytest.mark.parametrize(('path', 'kind'), [
    ('/?url=x', 'text/html'), ('/re_viewer.js', 'javascript'), ('/re_viewer_bg.wasm', 'wasm')])
def test_every_file_comes_whole_and_under_the_policy(page, path, kind):
    with urllib.request.urlopen(page.url.rstrip('/') + path) as answer:
        body = answer.read()
        assert kind in answer.headers['Content-Type']
        assert len(body) == int(answer.headers['Content-Length']) > 100
        assert answer.headers['Content-Security-Policy'] == policy(LOOPBACK, page.stream_port)


def test_the_policy_names_this_machine_alone():
    text = policy(LOOPBACK, 4321)
    sources = {word for part in text.split(';') for word in part.split()[1:]}
    assert sources == {"'none'", "'self'", "'unsafe-inline'", "'wasm-unsafe-eval'", 'data:',
                       'blob:', 'http://127.0.0.1:4321'}


def test_a_foreign_name_for_this_machine_is_refused(page):
    request = urllib.request.Request(page.url + '?url=x', headers={'Host': 'evil.example'})
    with pytest.raises(urllib.error.HTTPError) as found:
        urllib.request.urlopen(request)
    assert found.value.code == 403
    request.add_header('Host', 'localhost:9090')
    with urllib.request.urlopen(request) as answer:
        assert 'http://localhost:' in answer.headers['Content-Security-Policy']


def test_what_is_not_there_is_404(page):
    with pytest.raises(urllib.error.HTTPError) as found:
        urllib.request.urlopen(page.url + 'nothing')
    assert found.value.code == 404


def test_only_the_loopback_interface_is_bound(page):
    own = {page.stream_port, urllib.parse.urlsplit(page.url).port}
    found = set()
    for table in ('tcp', 'tcp6'):  # local address as hexadecimal ADDRESS:PORT, state 0A: listening
        for line in Path(f'/proc/net/{table}').read_text().splitlines()[1:]:
            address, port = line.split()[1].split(':')
            if line.split()[3] == '0A' and int(port, 16) in own:
                found.add((address, int(port, 16)))
    assert found == {('0100007F', port) for port in own}  # 127.0.0.1, lowest byte first


def test_a_taken_port_is_named():
    with socket.socket() as other:
        other.bind((LOOPBACK, 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=rf'--port {port}: .*in use; choose another'):
            Page(LOOPBACK, port, '50MB', [])


def test_a_rerun_that_does_not_start_is_told_with_its_last_words():
    with pytest.raises(ConfigError, match=r'rerun did not start: .+'):
        Page(LOOPBACK, 0, 'much', [])


def test_closing_ends_the_servers_and_so_does_a_death():
    with Page(LOOPBACK, 0, '50MB', []) as made:
        port = made.stream_port
        assert listening(port)
    assert not listening(port)
    code = ('import os, sys; from karpathy_control.bringup.environment import bound; '
            'from karpathy_control.viewing.page import Page; '
            'p = Page("127.0.0.1", 0, "50MB", bound()); print(p.stream_port, flush=True); '
            'os.kill(os.getpid(), 9)')
    child = subprocess.run([sys.executable, '-c', code], check=False, capture_output=True,
                           text=True, env=dict(os.environ))
    port = int(child.stdout)
    end = time.monotonic() + 10.0
    while listening(port) and time.monotonic() < end:
        time.sleep(0.02)
    assert not listening(port)
