"""Simulates durable runs, seed after seed.

    python -m tests.simulation [--seed N] [--seconds 300] [--first 0] [--steps 150]

With `--seed` that one alone, and what its world is like. Exits with 1 at the first seed that breaks
a promise, and prints how to replay it.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from itertools import count

from .world import STEPS, World


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--steps", type=int, default=STEPS)
    options = parser.parse_args()
    if options.seed is not None:
        world = World(options.seed, options.steps)
        print(world.nature)
        if not lived(world, options.seed, options.steps):
            return 1
        print(f"seed {options.seed}: {world}")
        return 0
    begun = time.monotonic()
    deaths = seeds = 0
    for seed in count(options.first):
        if time.monotonic() - begun >= options.seconds:
            break
        world = World(seed, options.steps)
        if not lived(world, seed, options.steps):
            return 1
        seeds, deaths = seeds + 1, deaths + world.deaths
    print(f"{seeds} seeds, {deaths} deaths, nothing lost, doubled or changed")
    return 0


def lived(world: World, seed: int, steps: int) -> bool:
    """Whether a world kept all promises; if not, say which it broke, and how to see it again."""
    try:
        world.run()
    except Exception:
        traceback.print_exc()
        print(f"\nseed {seed} fails; replay it with: make sim SEED={seed} STEPS={steps}")
        return False
    return True


sys.exit(main())
