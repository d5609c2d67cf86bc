"""Time segtrain's own loop against Keras' `fit` in turn: same network, batches, optimizer and loss.

.venv/bin/python scripts/peers/fit_loop.py --size 96 192 --batch 8

`fit` computes the loss only, `fit_with_metrics` also the scores of segtrain's loop. Before timing, the losses of both
loops are compared. Only clean turns count: See README.md.
"""

import argparse
import os
import subprocess
import sys

from workers import HERE, Result, Worker, alternate

VARIANTS = ["own_loop", "fit", "fit_with_metrics"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", default="build/fit_loop/people", help="folder of the drawn images")
    parser.add_argument("--size", nargs="+", type=int, default=[96, 192], help="crop sizes in pixels")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--steps-a-turn", type=int, default=5, help="a turn must be much longer than a clock tick (10 ms)"
    )
    parser.add_argument("--turns", type=int, default=7, help="clean turns per variant")
    parser.add_argument("--max-turns", type=int, default=40, help="maximum per variant")
    parser.add_argument(
        "--max-others", type=float, default=0.05, help="fraction of the cores that other processes may use"
    )
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
    """Train with both loops in one process and compare their losses."""
    command = [sys.executable, str(HERE / "fit_worker.py"), "check", *options]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent.parent)}
    done = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True)
    print(done.stderr.strip().splitlines()[-1])
    if done.returncode:
        sys.exit(done.stderr[-2000:])


def table(results: dict[str, Result], steps: int) -> str:
    """Format results as Markdown: milliseconds per step, and time relative to segtrain's own loop."""
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
