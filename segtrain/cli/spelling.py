"""The working spelling of a command line that is written as for another program, or torn apart by the shell.

Nothing is changed silently: `refuse_misspelled` prints the command that works.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, get_args, get_origin, get_type_hints

from segtrain.cli.arguments import BARE_WORD, INFO, SWITCHES, VALUED
from segtrain.config.root_keys import GROUPS
from segtrain.config.schema import SCHEMAS
from segtrain.errors import ConfigError
from segtrain.shell import brief, command, override

# Names of other programs, without `_` and `-`.
_OTHER_NAMES = {
    **dict.fromkeys(("lr", "learningrate", "initiallr", "baselr", "lr0"), "optimizer.learning_rate"),
    **dict.fromkeys(("wd", "weightdecay"), "optimizer.weight_decay"),
    **dict.fromkeys(("momentum",), "optimizer.momentum"),
    **dict.fromkeys(("epoch", "numepochs", "nepochs", "maxepochs", "maxepoch", "numtrainepochs"), "epochs"),
    **dict.fromkeys(("bs", "batch", "batchsize", "trainbatchsize", "perdevicetrainbatchsize"), "batch_size"),
    **dict.fromkeys(("imgsize", "imgsz", "imagesize", "inputsize", "cropsize", "patchsize", "crop"), "crop_size"),
    **dict.fromkeys(("data", "datadir", "dataroot", "datapath", "datasetdir", "datasetroot"), "dataset.root"),
    **dict.fromkeys(("numworkers", "nworkers", "threads", "j"), "workers"),
    **dict.fromkeys(("randomseed", "rngseed"), "seed"),
    **dict.fromkeys(("arch", "architecture", "net"), "model"),
    **dict.fromkeys(("encoder", "encodername", "backbonename"), "backbone"),
    **dict.fromkeys(("optim", "opt", "optimizername"), "optimizer"),
    **dict.fromkeys(("scheduler", "lrscheduler", "lrschedule"), "schedule"),
    **dict.fromkeys(("criterion", "lossfn", "lossfunction"), "loss"),
    **dict.fromkeys(("augmentation", "augmentations", "transforms", "transform"), "augment"),
    **dict.fromkeys(("callback",), "callbacks"),
    **dict.fromkeys(("os", "outputstride"), "backbone.output_stride"),
    **dict.fromkeys(("emarate", "emadecay"), "ema_decay"),
    **dict.fromkeys(
        ("gradientaccumulationsteps", "accumulategradbatches", "gradaccum", "accumulation"),
        "gradient_accumulation_steps",
    ),
    **dict.fromkeys(("clipgradnorm", "gradientclipval", "maxgradnorm", "gradclip", "clipnorm"), "clip_norm"),
    **dict.fromkeys(("resumefrom", "resumefromcheckpoint"), "resume"),
    **dict.fromkeys(("runname", "experimentname", "expname"), "name"),
    **dict.fromkeys(("trainedweights", "checkpointpath", "ckpt", "ckptpath"), "weights"),
    **dict.fromkeys(("exp",), "experiment"),
}
_KEY = r"[+~]{0,2}[A-Za-z_][\w.@/-]*"
_NUMBER = r"[+-]?\d+"


def refuse_misspelled(name: str, words: Sequence[str], options: Mapping[str, Sequence[str]]) -> None:
    """Refuse a command line whose meaning is plain and whose spelling is not.

    Args:
        name: The command.
        words: After it.
        options: Of each config group.

    Raises:
        ConfigError: With the complete, working command line.
    """
    if {"-m", "--multirun"} & {*words}:
        return  # whose values are lists of values
    right = [word if is_flag else _respelled(name, word, options) for word, is_flag in _joined(name, words, options)]
    if right == list(words):
        return
    wrong = [word for word in words if word not in right]
    seen = " ".join(brief(word) for word in wrong) or brief(" ".join(words))
    expected = command(*(word for word in right if word not in words))
    raise ConfigError(f"cannot read {seen}, expected {expected}. Fix: {command('segtrain', name, *right)}")


def _joined(name: str, words: Sequence[str], options: Mapping[str, Sequence[str]]) -> list[tuple[str, bool]]:
    """Put together what the shell has taken apart: `[64, 64]`, `epochs = 5`, `epochs: 5`, `--epochs 5`.

    Returns:
        Each word, and whether it is a flag of Hydra's or the value of one.
    """
    rest, found = list(words), list[tuple[str, bool]]()
    while rest:
        word = rest.pop(0)
        flag = word.partition("=")[0]
        if word in SWITCHES or flag in VALUED:
            found.append((word, True))
            if flag in VALUED and word == flag and rest and (VALUED[flag] is not INFO or rest[0] in INFO):
                found.append((rest.pop(0), True))
            continue
        while _is_open(word) and rest:
            word += " " + rest.pop(0)
        is_key = bool(re.fullmatch(_KEY, word)) and _known_key(name, word, options) is not None
        if is_key and rest and rest[0].startswith("=") and (len(rest[0]) > 1 or len(rest) > 1):
            word += rest.pop(0)
        if re.fullmatch(rf"{_KEY}=", word) and rest and _is_value(rest[0]):
            word += rest.pop(0)
        if (match := re.fullmatch(rf"({_KEY}):(.*)", word)) and _known_key(name, match[1], options):
            word = f"{match[1]}={match[2] or (rest.pop(0) if rest and _is_value(rest[0]) else '')}"
        if match := re.fullmatch(r"--?(no-)?([A-Za-z][\w.-]*)(=.*)?", word, re.DOTALL):
            word = _from_flag(name, word, match, rest, options)
        while _is_open(word) and rest:
            word += " " + rest.pop(0)
        found.append((word, False))
    return found


def _from_flag(
    name: str, word: str, match: re.Match[str], rest: list[str], options: Mapping[str, Sequence[str]]
) -> str:
    key = _known_key(name, match[2], options)
    if key is None:
        return word
    if match[3]:
        return f"{key}{match[3]}"
    if _type(name, key) is bool:
        given = rest.pop(0) if rest and rest[0].lower() in ("true", "false") else str(not match[1])
        return f"{key}={given.lower()}"
    return f"{key}={rest.pop(0)}" if rest and _is_value(rest[0]) else f"{key}="


def _respelled(name: str, word: str, options: Mapping[str, Sequence[str]]) -> str:
    """Write one word so that it has the type of its key."""
    key, equals, value = word.partition("=")
    if word.startswith("-"):
        return word
    if not equals:
        return _from_bare_word(name, word, options)
    bare = key.lstrip("+")
    known = _known_key(name, bare, options)
    if known is None:
        return word
    if known != bare:
        key = known
    value = value.lstrip("=").strip() if value.startswith("=") else value
    if value.endswith((",", ";")) and len(value) > 1:
        value = value.rstrip(",;")
    return f"{key}={_respelled_value(_type(name, known), value)}"


def _respelled_value(kind: Any, value: str) -> str:
    if kind == list[int]:
        numbers = re.fullmatch(rf"[\[(]?\s*({_NUMBER})(?:\s*[,xX* ]\s*({_NUMBER}))?\s*,?\s*[\])]?", value)
        if numbers and not re.fullmatch(r"\[.*,.*\]", value):
            return f"[{numbers[1]},{numbers[2] or numbers[1]}]"
    if kind is int and re.fullmatch(r"[+-]?\d+(\.0*)?(e\+?\d)?", value, re.IGNORECASE) and not value.isdigit():
        return str(int(float(value)))
    return value


def _from_bare_word(name: str, word: str, options: Mapping[str, Sequence[str]]) -> str:
    """Give a name that stands alone its key: `train people`, `eval runs/train/X`."""
    if name in BARE_WORD or name == "compare" or not word or word.startswith("~"):
        return word
    if name in ("eval", "doctor"):
        return word if _known_key(name, word, options) else override("run", word)
    return f"+experiment={word}" if word in options.get("experiment", ()) else word


def _known_key(name: str, word: str, options: Mapping[str, Sequence[str]]) -> str | None:
    """Return the key of this command that a word means; None if none matches."""
    bare = word.lstrip("+~")
    declared = {each.name for each in fields(SCHEMAS[name])}
    first = bare.partition(".")[0]
    if bare in declared or first in declared or first == "hydra":
        return bare
    if first in options and name != "eval":
        return bare
    underlined = bare.replace("-", "_")
    if underlined.partition(".")[0] in declared:
        return underlined
    other = _OTHER_NAMES.get(bare.lower().replace("_", "").replace("-", ""))
    return other if other is not None and other.partition(".")[0] in {*declared, *options} else None


def _type(name: str, key: str) -> Any:
    """Return the declared type of a root key, without `| None`; None of others."""
    hint = get_type_hints(SCHEMAS[name]).get(key)
    if key in GROUPS or hint is None:
        return None
    kinds = [each for each in get_args(hint) if each is not type(None)]
    return kinds[0] if kinds and get_origin(hint) is not list else hint


def _is_value(word: str) -> bool:
    return (
        bool(word)
        and "=" not in word
        and (not word.startswith(("-", "+", "~")) or bool(re.match(r"[-+][\d.]|~/", word)))
    )


def _is_open(word: str) -> bool:
    """Whether a bracket of an override is not closed within its word; quoted text is left alone."""
    if "=" not in word or "'" in word or '"' in word:
        return False
    value = word.partition("=")[2]
    return value[:1] in ("[", "{", "(") and any(value.count(a) > value.count(b) for a, b in ("[]", "{}", "()"))
