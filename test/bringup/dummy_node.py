"""Stands for a node in runner tests: says when it starts and how it is stopped.

    python dummy_node.py NAME JOURNAL BEHAVIOUR
"""

import mmap
import os
import signal
import sys
import time

name, journal, behaviour = sys.argv[1:4]


def note(text):
    # One write of one line: lines of several processes do not mix.
    with open(journal, 'a') as file:
        file.write(f'{name} {text} {os.getpid()}\n')


def on_signal(number, _frame):
    note(signal.Signals(number).name)
    if behaviour != 'deaf' and not (behaviour == 'stubborn' and number == signal.SIGINT):
        sys.exit(0)


for each in (signal.SIGINT, signal.SIGTERM):
    signal.signal(each, on_signal)
former = open(journal).read().count(f'{name} start ')
note('start')
print(f'{name} is here', flush=True)
if behaviour.startswith('exit'):
    print('the reason', flush=True)
    sys.exit(int(behaviour.removeprefix('exit')))
if behaviour.startswith('later') and 0 < former < 7:
    sys.exit(int(behaviour.removeprefix('later')))
if behaviour == 'refusal':
    print('\x1b[31;1m[\x1b[37;1mXMLPARSER\x1b[31;1m Error] not that tag', flush=True)
if behaviour == 'cut_off' and former == 0:
    print('2026-11-27 00:18:48 \x1b[31;1m[\x1b[37;1mRTPS_PARTICIPANT\x1b[31;1m Error] '
          '\x1b[37mNo unicast locators to create unique flows\x1b[34;1m', flush=True)
if behaviour == 'silent':
    print('y' * 300_000, flush=True)  # more than a pipe holds
    note('unblocked')
if behaviour.startswith('fastdds_'):  # a segment, which its owner leaves behind
    with open(f'/dev/shm/{behaviour}', 'wb+') as segment:
        segment.truncate(4096)
        shared = mmap.mmap(segment.fileno(), 4096)
    open(f'/dev/shm/{behaviour}_el', 'w').close()
    note('mapped')
while True:
    time.sleep(0.02)
