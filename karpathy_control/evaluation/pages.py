"""Pages of HTML that hold their pictures and need nothing else."""

from __future__ import annotations

import base64
import html
import os
import platform
from collections.abc import Mapping
from importlib import metadata

PACKAGES = ('rclpy', 'torch', 'mujoco-core', 'mujoco', 'numpy', 'numba', 'scipy',
            'opencv-python-headless', 'onnxruntime')

_CSS = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0; background: #f5f7fa; color: #1f2933;
       font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1020px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 25px; margin: 0 0 2px; } h2 { font-size: 17px; margin: 0 0 12px; }
.sub { color: #616e7c; margin: 0 0 20px; }
.verdict { display: inline-block; padding: 2px 12px; border-radius: 999px; color: #fff;
           font-size: 14px; font-weight: 600; vertical-align: middle; margin-left: 8px; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(132px, 1fr)); gap: 12px; }
.card, section { background: #fff; border: 1px solid #e4e7eb; border-radius: 10px; }
.card { padding: 12px 14px; } .card b { display: block; font-size: 22px; line-height: 1.25; }
.card span { color: #616e7c; font-size: 13px; }
section { margin-top: 18px; padding: 18px 20px; }
img { max-width: 100%; height: auto; display: block; margin: 0 auto; }
.frames { display: grid; grid-template-columns: repeat(auto-fill, minmax(300px, 1fr)); gap: 12px; }
.frames img { width: 100%; border-radius: 6px; }
figure { margin: 0; } figcaption { color: #616e7c; font-size: 13px; margin-top: 4px; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th, td { text-align: left; padding: 5px 10px 5px 0; border-bottom: 1px solid #e4e7eb; }
th { color: #616e7c; font-weight: 600; }
td.good { color: #1f9d55; font-weight: 600; } td.bad { color: #d64545; font-weight: 600; }
code { background: #f5f7fa; padding: 1px 5px; border-radius: 4px; font-size: 13px; }
"""


def versions() -> dict[str, str]:
    """What the episode ran on, by name; packages that are not there are left out."""
    found = {'Python': platform.python_version(), 'system': platform.platform(terse=True),
             'processor cores': str(len(os.sched_getaffinity(0))
                                    if hasattr(os, 'sched_getaffinity') else os.cpu_count())}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def image(data: bytes, caption: str, kind: str = 'png') -> str:
    """A picture within the page."""
    text = html.escape(caption)
    source = f'data:image/{kind};base64,' + base64.b64encode(data).decode()
    return f'<img src="{source}" alt="{text}">'


def section(title: str, body: str) -> str:
    """A part of the page with a heading; `body` is HTML."""
    return f'<section><h2>{html.escape(title)}</h2>{body}</section>'


def pairs(values: Mapping[str, str]) -> str:
    """A table of names and values."""
    return '<table>' + ''.join(f'<tr><th>{html.escape(k)}</th><td>{html.escape(v)}</td></tr>'
                               for k, v in values.items()) + '</table>'


def page(title: str, verdict: tuple[bool, str], subtitle: str, body: str) -> str:
    """A whole page; `verdict` is whether it is good, and in which words."""
    colour, word = '#1f9d55' if verdict[0] else '#d64545', html.escape(verdict[1])
    return (f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            f'<meta name="viewport" content="width=device-width, initial-scale=1">'
            f'<title>{html.escape(title)}</title><style>{_CSS}</style></head><body><main>'
            f'<h1>{html.escape(title)}<span class="verdict" style="background:{colour}">{word}'
            f'</span></h1><p class="sub">{subtitle}</p>{body}</main></body></html>\n')
