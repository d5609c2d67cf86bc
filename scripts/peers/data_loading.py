"""Time segtrain's training data loader against others, pass by pass in turn, and print a table.

.venv/bin/python scripts/peers/data_loading.py --root VOCdevkit/VOC2012 --torch-python PATH

Only clean passes count: those during which other processes used less than 5 % of the cores. See README.md.
"""

import argparse
import sys

from workers import Result, Worker, alternate

VARIANTS = ("segtrain", "tf_image", "torch_opencv", "torch_albumentations", "torch_albumentations_bytes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, help="VOCdevkit/VOC2012")
    parser.add_argument("--torch-python", help="python of an environment with torch, albumentations and opencv")
    parser.add_argument("--variant", nargs="+", choices=VARIANTS, default=VARIANTS, help="variants to run")
    parser.add_argument("--images", type=int, default=1296, help="images per pass")
    parser.add_argument("--passes", type=int, default=10, help="clean passes per variant")
    parser.add_argument("--max-passes", type=int, default=30, help="maximum per variant")
    parser.add_argument(
        "--max-others", type=float, default=0.05, help="fraction of the cores that other processes may use"
    )
    asked = parser.parse_args()
    workers: list[Worker] = []
    try:
        for name in asked.variant:
            python = asked.torch_python if name.startswith("torch") else sys.executable
            if python:
                options = [name, "--root", asked.root, "--images", str(asked.images)]
                workers.append(Worker(name, python, "data_worker.py", options))
        results = alternate(workers, num_clean=asked.passes, max_others=asked.max_others, max_steps=asked.max_passes)
    finally:
        for worker in workers:
            worker.kill()
    print(table(results, asked.images))


def table(results: dict[str, Result], images: int) -> str:
    """Format images per second as Markdown: median, slowest and fastest pass, and segtrain's speedup."""
    lines = ["| loader | images/s | slowest-fastest pass | segtrain is | clean passes |", "|---|---|---|---|---|"]
    for name, result in results.items():
        fastest, slowest = result.spread
        ratio = f"{result.seconds / results['segtrain'].seconds:.2f} x" if "segtrain" in results else "-"
        lines.append(
            f"| {name} | {images / result.seconds:.0f} | {images / slowest:.0f}-{images / fastest:.0f} | {ratio} | "
            f"{result.num_clean} of {result.num_steps} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
