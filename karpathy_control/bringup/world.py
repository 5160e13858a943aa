"""`karpathy-control world`: writes a generated world as SDF (gz sim), MJCF (MuJoCo) or JSON."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from karpathy_control.bringup.robots import load_profile
from karpathy_control.contracts.config import ConfigError
from karpathy_control.contracts.config.sim import FAMILIES
from karpathy_control.contracts.world import World
from karpathy_control.worlds.files import worlds_text
from karpathy_control.worlds.generators import generate
from karpathy_control.worlds.sdf import sdf_text

FORMATS = ('sdf', 'mjcf', 'json')


def text_of(world: World, form: str, robot: str) -> str:
    """The text of a file. MJCF holds the robot of a profile, whose description it needs."""
    if form == 'json':
        return worlds_text([world])
    if form == 'sdf':
        return sdf_text(world)
    from karpathy_control.worlds.mjcf import build_spec
    from karpathy_control.worlds.robot import load_robot

    profile = load_profile(robot)
    if profile.description is None:
        raise ConfigError(f'--robot {robot}: it has no description, which --format mjcf needs')
    spec = build_spec(world, load_robot(profile.description), 0.002)
    spec.compile()
    return str(spec.to_xml())


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and write the world; returns the exit status."""
    parser = argparse.ArgumentParser(prog='karpathy-control world', description=__doc__)
    parser.add_argument('--family', default=FAMILIES[0], choices=FAMILIES)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--format', default='sdf', choices=FORMATS)
    parser.add_argument('--robot', default='jackal', help='profile that --format mjcf adds')
    parser.add_argument('--out', type=Path, help='file; default: standard output')
    args = parser.parse_args(argv)
    try:
        text = text_of(generate(args.family, args.seed), args.format, args.robot)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if args.out is None:
        sys.stdout.write(text)
        return 0
    try:
        args.out.write_text(text)
    except OSError as error:
        raise ConfigError(f'--out {args.out}: {error}') from error
    return 0
