"""Time segtrain's own loop against Keras' `fit`: same network, batches, optimizer and loss, in turn, in one run.

.venv/bin/python scripts/peers/fit_loop.py --size 96 192 --batch 8

`fit` keeps the loss alone, `fit_with_metrics` the scores of segtrain's loop, too. Before anything is timed, the losses
of both loops are compared. Only clean turns count: README.md says more.
"""

import argparse
import os
import subprocess
import sys

from workers import HERE, Result, Worker, alternate

VARIANTS = ["own_loop", "fit", "fit_with_metrics"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", default="build/fit_loop/people", help="where the drawn images are, or go")
    parser.add_argument("--size", nargs="+", type=int, default=[96, 192], help="of crops, in pixels")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--steps-a-turn", type=int, default=5, help="one clock tick, 10 ms, must be little beside a turn"
    )
    parser.add_argument("--turns", type=int, default=7, help="clean turns of each")
    parser.add_argument("--max-turns", type=int, default=40, help="give up after so many of each")
    parser.add_argument("--max-others", type=float, default=0.05, help="share of the cores that others may use")
    arguments = parser.parse_args()
    for size in arguments.size:
        compare(size, arguments)


def compare(size: int, arguments: argparse.Namespace) -> None:
    options = ["--root", arguments.root, "--size", str(size), "--batch", str(arguments.batch)]
    options += ["--threads", str(arguments.threads), "--steps-a-turn", str(arguments.steps_a_turn)]
    check(options)
    workers: list[Worker] = []
    try:
        for name in VARIANTS:
            workers.append(Worker(name, sys.executable, "fit_worker.py", [name, *options]))
        results = alternate(
            workers, num_clean=arguments.turns, max_others=arguments.max_others, max_steps=arguments.max_turns
        )
    finally:
        for worker in workers:
            worker.kill()
    print(f"\npeople, {size} px, batch {arguments.batch}, {arguments.threads} threads\n")
    print(table(results, arguments.steps_a_turn), flush=True)


def check(options: list[str]) -> None:
    """Let one process train by both loops and compare their losses."""
    command = [sys.executable, str(HERE / "fit_worker.py"), "check", *options]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent.parent)}
    done = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True)
    print(done.stderr.strip().splitlines()[-1])
    if done.returncode:
        sys.exit(done.stderr[-2000:])


def table(results: dict[str, Result], steps: int) -> str:
    """Write results as Markdown: milliseconds a step, and how often the own loop's speed each has."""
    lines = [["loop", "ms a step", "fastest-slowest", "time / own_loop", "peak GB", "clean turns"]]
    lines.append(["---"] * len(lines[0]))
    own = results["own_loop"].seconds
    for name, result in results.items():
        fastest, slowest = (each / steps * 1000 for each in result.spread)
        lines.append(
            [
                name,
                f"{result.seconds / steps * 1000:.1f}",
                f"{fastest:.1f}-{slowest:.1f}",
                f"{result.seconds / own:.3f}",
                f"{result.peak_bytes / 1e9:.2f}",
                f"{result.num_clean} of {result.num_steps}",
            ]
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
