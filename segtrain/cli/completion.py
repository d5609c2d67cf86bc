"""Tab completion: commands by their names, groups, options and keys through Hydra's own query.

`segtrain completion bash` prints the script. On each TAB it hands the line back to
`segtrain completion query LINE`, for Hydra's installer knows no sub-commands.
"""

import contextlib
import io
import os
from collections.abc import Sequence
from pathlib import Path

from segtrain.cli.arguments import SWITCHES, VALUED, config_dir_flag, rewrite, split_flags
from segtrain.errors import ConfigError, SegtrainError
from segtrain.suggest import did_you_mean

# bash replaces only what follows the last '=' or ':' of a word, so the matches lose what stands before it.
BASH = r"""# segtrain: completes commands, options and keys.   eval "$(segtrain completion bash)"
_segtrain() {
    local line="${COMP_LINE:0:COMP_POINT}" IFS=$'\n'
    local word="${line##* }" kept=""
    case "$COMP_WORDBREAKS" in *=*) kept="${word%"${word##*[=:]}"}" ;; esac
    COMPREPLY=($("${COMP_WORDS[0]}" completion query "$line" 2>/dev/null))
    COMPREPLY=("${COMPREPLY[@]#"$kept"}")
    case "${COMPREPLY[*]}" in *[=./]) compopt -o nospace 2>/dev/null ;; esac
}
complete -o default -F _segtrain segtrain
"""
ZSH = r"""#compdef segtrain
# segtrain: completes commands, options and keys.   eval "$(segtrain completion zsh)" after compinit
_segtrain() {
    local -a matches
    matches=("${(@f)$("${words[1]}" completion query "${(j: :)words[1,CURRENT]}" 2>/dev/null)}")
    compadd -Q -S '' -- ${matches:#}
}
compdef _segtrain segtrain
"""
FISH = r"""# segtrain: completes commands, options and keys.   segtrain completion fish | source
function __segtrain_matches
    set -l words (commandline -opc) (commandline -ct)
    segtrain completion query (string join ' ' -- $words) 2>/dev/null
end
complete -c segtrain -f -a '(__segtrain_matches)'
complete -c segtrain -n '__fish_seen_subcommand_from predict' -F
"""
SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}
# Keys whose values are folders below runs/.
_FOLDERS = {"run": "train", "resume": "train", "eval": "eval"}


def main(words: Sequence[str]) -> int:
    """`completion bash`, `zsh` or `fish` prints a script; `completion query LINE` prints the matches, one a line."""
    if len(words) == 2 and words[0] == "query":
        print("\n".join(matches(words[1])))
        return 0
    given = " ".join(words)
    if given not in SCRIPTS:
        raise ConfigError(f"completion {given}: expected {', '.join(SCRIPTS)}{did_you_mean(given, SCRIPTS)}")
    print(SCRIPTS[given], end="")
    return 0


def matches(line: str) -> list[str]:
    """Return completions of the last word of a command line; a line that ends in a space begins a new word."""
    from segtrain.cli.job import COMMANDS
    from segtrain.download.sources import SOURCES

    *before, word = line.split(" ")
    words = [each for each in before if each][1:]
    if not words:
        return [each for each in (*COMMANDS, "completion") if each.startswith(word)]
    command, *words = words
    if command == "completion":
        return [shell for shell in SCRIPTS if shell.startswith(word)]
    if command not in COMMANDS:
        return []
    if word.startswith("-"):
        return [flag for flag in (*SWITCHES, *VALUED) if flag.startswith("--") and flag.startswith(word)]
    # Of a sweep, backbone=resnet50,mob, the last value is the one to complete.
    key, equals, values = word.partition("=")
    chosen, comma, last = values.rpartition(",")
    if equals and key in _FOLDERS:
        return [f"{key}={path}" for path in _run_folders(_FOLDERS[key]) if path.startswith(values)]
    if command == "compare" and not equals and word.startswith("runs/"):
        return [path for path in _run_folders("train") if path.startswith(word)]
    found = _query(command, words, key + equals + last)
    if command == "compare" and not equals:
        found = [each.partition("=")[2] for each in _query(command, words, f"experiment={word}")] + found
    if command == "download" and not equals:
        found = [name for name in SOURCES if name.startswith(word)] + found
    return [f"{key}={chosen},{each.removeprefix(f'{key}=')}" for each in found] if comma else found


def _run_folders(command: str) -> list[str]:
    """Return the run folders of a command, the newest first."""
    parent = Path("runs", command)
    return sorted((str(path) for path in parent.iterdir() if path.is_dir()), reverse=True) if parent.is_dir() else []


def _query(command: str, words: Sequence[str], word: str) -> list[str]:
    """Ask Hydra's completion plugin, which reads the line from the environment and prints the matches."""
    from segtrain.cli.run import run

    answer = io.StringIO()
    before = os.environ.get("COMP_LINE")
    try:
        flags, overrides = split_flags(words)
        if command == "compare":  # its experiments change no key's name
            overrides = [each for each in overrides if "=" in each]
        os.environ["COMP_LINE"] = " ".join(["segtrain", *flags, *rewrite(command, overrides), word])
        with contextlib.redirect_stdout(answer), contextlib.redirect_stderr(io.StringIO()):
            run(command, [*config_dir_flag(flags), "--shell-completion", "query=bash"])
    except SegtrainError:
        return []  # the line is wrong so far: the command will report it, TAB does not
    finally:
        os.environ.pop("COMP_LINE", None)
        if before is not None:
            os.environ["COMP_LINE"] = before
    return [each for each in answer.getvalue().split() if not each.startswith("hydra") and "_target_" not in each]
