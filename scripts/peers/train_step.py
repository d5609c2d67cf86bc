"""Time training steps (or inference) of segtrain and its peers in turn, and print a table.

.venv/bin/python scripts/peers/train_step.py --torch-python PATH --size 256 512 --batch 4
.venv/bin/python scripts/peers/train_step.py --torch-python PATH --task infer --size 512 --batch 1 --group keras_io

Only clean steps count: those during which other processes used less than 5 % of the cores. See README.md.
"""

import argparse
import sys

from workers import Worker, alternate, table

# By group: the variants of one network, and the reference variants.
GROUPS = {
    "keras_io": (
        ["keras_io_faithful", "segtrain_keras_io", "segtrain_keras_io_recompute", "torch_keras_io"],
        ["keras_io_faithful", "torch_keras_io"],
    ),
    "deeplabv3": (["torchvision_deeplabv3", "segtrain_deeplabv3"], ["torchvision_deeplabv3"]),
    "deeplabv3plus": (["smp_deeplabv3plus", "segtrain_deeplabv3plus"], ["smp_deeplabv3plus"]),
}


def main() -> None:
    every = [variant for variants, _ in GROUPS.values() for variant in variants]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch-python", help="python of an environment with the peers; without it, torch is skipped")
    parser.add_argument("--group", nargs="+", choices=GROUPS, default=list(GROUPS))
    parser.add_argument("--variant", nargs="+", choices=every, default=every, help="variants to run")
    parser.add_argument("--task", choices=["train", "infer"], default="train")
    parser.add_argument("--size", nargs="+", type=int, default=[256, 512])
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=5, help="clean steps per variant")
    parser.add_argument("--max-steps", type=int, default=40, help="maximum per variant")
    parser.add_argument(
        "--max-others", type=float, default=0.05, help="fraction of the cores that other processes may use"
    )
    arguments = parser.parse_args()
    for size in arguments.size:
        for group in arguments.group:
            compare(group, size, arguments)


def compare(group: str, size: int, arguments: argparse.Namespace) -> None:
    variants, references = GROUPS[group]
    options = ["--task", arguments.task, "--size", str(size), "--batch", str(arguments.batch)]
    options += ["--threads", str(arguments.threads)]
    workers: list[Worker] = []
    try:
        for name in variants:
            python, script = program(name, arguments.torch_python)
            # Activation checkpointing only affects training.
            left_out = name not in arguments.variant or (arguments.task == "infer" and name.endswith("_recompute"))
            if python is not None and not left_out:
                workers.append(Worker(name, python, script, [name, *options]))
        results = alternate(
            workers,
            num_clean=arguments.steps,
            max_others=arguments.max_others,
            max_steps=arguments.max_steps,
        )
    finally:
        for worker in workers:
            worker.kill()
    print(f"\n{group}: {arguments.task}, {size} px, batch {arguments.batch}, {arguments.threads} threads\n")
    print(table(results, references), flush=True)
    if len({result.trainable for result in results.values()}) > 1:
        sys.exit(f"error: the networks of {group} differ in their parameters, so their times are not comparable")


def program(variant: str, torch_python: str | None) -> tuple[str | None, str]:
    """Return the Python interpreter and the script of a variant."""
    if variant == "keras_io_faithful":
        return sys.executable, "keras_io_faithful.py"
    if variant.startswith("segtrain"):
        return sys.executable, "segtrain_worker.py"
    return torch_python, "torch_worker.py"


if __name__ == "__main__":
    main()
