"""Corruptions of every command's config, from a seed: one line that names the key, or a legal value; never a traceback.

`python tests/config_fuzz.py 2000` runs the full set, the suite a sample. Commands stop where they would read data.
"""

import contextlib
import io
import random
import sys
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from segtrain import config
from segtrain.cli import main as cli
from segtrain.cli.arguments import rewrite
from segtrain.errors import SegtrainError
from segtrain.shell import override

LONGEST_SECONDS = 10.0
STRONG = ("augment=strong", "loss=cross_entropy_dice", "heads=[auxiliary,edges]", "callbacks=early_stopping")
TRAINED = ("train", "summary", "compare", "check", "browse", "bench")
EXPERIMENTS = ("people", "cihp", "binary", "voc", "camvid", "keras_io_2021", "thalles_v3_code", "berrios_v3")
BASES: list[tuple[str, tuple[str, ...]]] = [
    *((command, (f"+experiment={name}",)) for command in TRAINED for name in EXPERIMENTS),
    *((command, ("+experiment=cihp", *STRONG)) for command in TRAINED),
    *(("train", (f"schedule={name}", "optimizer=sgd")) for name in ("cosine", "one_cycle", "step", "constant")),
    *(("train", (f"model={name}",)) for name in ("fcn", "unet", "pspnet", "lraspp", "segformer_mlp", "deeplabv3")),
    *(("train", (f"loss={name}", "norm=group")) for name in ("ohem", "focal", "tversky", "lovasz", "boundary")),
    *(("eval", ()), ("doctor", ()), ("download", ("voc",)), ("prepare", ("sbd=/nowhere", "voc=/nowhere", "output=x"))),
]
# By kind: the value, and whether it is wrong whatever the key.
VALUES: dict[str, tuple[Any, bool]] = {
    "null": (None, False),
    "text": ("nonsense", False),
    "empty": ("", False),
    "bool": (True, False),
    "list": ([1, "a"], False),
    "mapping": ({"a": 1}, False),
    "negative": (-1, False),
    "zero": (0, False),
    "fraction": (0.5, False),
    "huge": (1e30, False),
    "too large": (10**25, True),
    "nan": (float("nan"), True),
    "infinite": (float("inf"), True),
    "node": ("${optimizer}", False),
    "cycle": ("SELF", True),
    "lost": ("${no_such_key}", True),
    "environment": ("${oc.env:HOME}", True),
    "control": ("a\nb\x1b[31m", False),
    "null byte": ("a\0b", True),
    "long": ("x" * 5000, True),
}


class Reached(SegtrainError):
    """The command has accepted its config."""

    exit_code = 99


class Corruption(NamedTuple):
    """One key of one command line made wrong."""

    command: str
    words: tuple[str, ...]
    key: str
    kind: str
    is_wrong: bool


def keys_of(tree: Any, where: str = "") -> Iterator[str]:
    for key, value in tree.items():
        name = f"{where}.{key}" if where else str(key)
        if key not in ("_target_", "hydra"):
            yield name
            if isinstance(value, dict) and str(key).isidentifier():
                yield from keys_of(value, name)


def corruptions(count: int, seed: int) -> list[Corruption]:
    draw = random.Random(seed)
    config.set_up()
    found: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    with initialize_config_dir(config.config_dir(), version_base="1.3"):
        for command, words in BASES:
            written = rewrite(command, words)
            tree = OmegaConf.to_container(compose(command, written), resolve=False)
            found[command, words] = [
                key for key in keys_of(tree) if all(part.isidentifier() for part in key.split("."))
            ]
    made = []
    while len(made) < count:
        base = draw.choice(BASES)
        key = draw.choice(found[base])
        kind = draw.choice([*VALUES, "typo", "deleted", "below", "unread"])
        made.append(corruption(*base, key, kind, draw))
    return made


def corruption(command: str, words: tuple[str, ...], key: str, kind: str, draw: random.Random) -> Corruption:
    is_group = key in config.groups()
    force = "" if is_group else "++"
    root = ("dataset.root=/nowhere", "backbone.weights=null") if command in TRAINED else ()
    root += ("other=people",) if command == "compare" else ()
    if kind == "typo":
        parent, dot, last = key.rpartition(".")
        at = draw.randrange(len(last))
        key = f"{parent}{dot}{last[:at]}zq{last[at:]}"
        word, is_wrong = f"++{key}=1", command == "train" and "lr_multipliers" not in parent
    elif kind == "deleted":
        word, is_wrong = f"~{key}", False
    elif kind == "below":
        word, is_wrong, key = f"++{key}.zz=1", False, key
    elif kind == "unread":
        word, is_wrong = f"{force}{key}={draw.choice(['[1,', '{a', '(1,2)', 'a=b', chr(34), '$(x'])}", False
    else:
        value, is_wrong = VALUES[kind]
        is_wrong = is_wrong and (kind not in ("nan", "infinite", "too large") or "." in key)  # root keys have types
        value = f"${{{key}}}" if value == "SELF" else value
        text = f'"{value}"' if isinstance(value, str) and value.startswith("${") else override("", value)[1:]
        word = f"{force}{key}={text}"
    return Corruption(command, (command, *words, *root, word), key, kind, is_wrong and not is_group)


def stop_commands() -> None:
    """Let every command end where it would read data, build a network or fetch."""
    import segtrain.builders.description
    import segtrain.commands.prepare
    import segtrain.download.install
    from segtrain import data

    def reached(*arguments, **named):
        raise Reached("accepted")

    for kind in (data.Folder, data.Cihp, data.Voc, data.People, data.Concat):
        kind.samples = reached
    segtrain.builders.description.build_network = reached
    segtrain.download.install.install = reached
    segtrain.commands.prepare.plan_train_aug = reached


def fault(made: Corruption) -> str:
    """What is wrong with how a command answers a corruption; empty where nothing is."""
    started, printed = time.monotonic(), io.StringIO()
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(printed):
            code: Any = cli.main(made.words)
    except BaseException as error:
        return f"raised {type(error).__name__}: {error}"
    seconds = time.monotonic() - started
    err = printed.getvalue()
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    if "Traceback" in err or code == 1:
        return f"traceback: {err[-300:]}"
    if seconds > LONGEST_SECONDS:
        return f"{seconds:.0f} s"
    if code in (0, 99):
        return f"accepted: {made.words[-1][:60]}" if made.is_wrong else ""
    if not 2 <= code <= 7 or len(errors) != 1:
        return f"code {code}, {len(errors)} errors: {err[-300:]}"
    if any(not line.isprintable() for line in errors):
        return f"control characters: {errors[0]!r}"
    asks = made.command in ("eval", "doctor") and "no training run" in err  # which these ask first
    return "" if asks or made.key.rpartition(".")[2] in err else f"does not name {made.key}: {err[-300:]}"


if __name__ == "__main__":
    stop_commands()
    made = corruptions(int(sys.argv[1]), seed=int(sys.argv[2]) if len(sys.argv) > 2 else 11)
    wrong = [f"{each.kind} {' '.join(each.words)[:200]!r}: {seen!r}" for each in made if (seen := fault(each))]
    print("\n".join([*wrong, f"{len(wrong)} of {len(made)} wrong"]))
    sys.exit(bool(wrong))
