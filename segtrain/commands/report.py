"""`segtrain report`: a run and its newest evaluation as one HTML page."""

from pathlib import Path

from omegaconf import DictConfig

from segtrain.errors import ConfigError
from segtrain.report.html import render
from segtrain.runs.folder import evaluated_run, newest_evaluation, newest_run, require_run
from segtrain.shell import command, override
from segtrain.storage import make_folder, write_atomically
from segtrain.terminal import printable


def report(cfg: DictConfig) -> Path:
    """Write the page; returns its path.

    Raises:
        ConfigError: The evaluation is of another run.
    """
    if cfg.run is None and cfg.eval is not None:
        run = require_run(evaluated_run(Path(cfg.eval).expanduser()) or newest_run())
    else:
        run = require_run(cfg.run) if cfg.run is not None else newest_run()
    folder = newest_evaluation(run) if cfg.eval is None else Path(cfg.eval).expanduser()
    if (evaluated := evaluated_run(folder)) is not None and evaluated.resolve() != run.resolve():
        raise ConfigError(
            f"eval={printable(folder)}: an evaluation of {printable(evaluated)}, expected one of {printable(run)}. "
            f"Fix: {command('segtrain', 'report', override('eval', folder))}"
        )
    path = folder / "report.html" if cfg.output is None else Path(cfg.output).expanduser()
    page = render(run, folder, cfg.images)
    make_folder(path.parent)
    write_atomically(path, page.encode(errors="replace"))
    print(f"report: {printable(path)}")
    return path
