"""From YAML to parts: what is checked, what may be called, what a call gets."""

import inspect
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from segtrain import config
from segtrain.config import annotations, files, targets
from segtrain.config.calls import REFUSED_KEYS
from segtrain.config.schema import SCHEMAS
from segtrain.errors import ConfigError
from segtrain.suggest import did_you_mean

NODES = sorted(
    (path.parent.name, path.stem)
    for path in Path(config.config_dir()).glob("*/*.yaml")
    if path.parent.name not in ("hydra", "debug", "experiment", "sweep")
)
TOYS = """
from typing import Any

class Toy:
    def __init__(self, **arguments): self.arguments = arguments

class Base:
    def __init__(self, clip: float | None = None, name: str = "base"): ...

class Derived(Base):
    def __init__(self, rate=0.1, **kwargs): super().__init__(**kwargs)

def net(backbone: Any, num_classes: int, dilations: list[int], dropout: float = 0.5):
    return Toy(backbone=backbone, num_classes=num_classes, dilations=dilations, dropout=dropout)

def leaf(size: int = 1): return Toy(size=size)

def free(**kwargs): return Toy(**kwargs)

def strict(size: int):
    raise ValueError("between parts")
"""


@pytest.fixture(autouse=True)
def toys(tmp_path, monkeypatch):
    """A module of parts that needs no TensorFlow, importable as toy_parts."""
    (tmp_path / "toy_parts.py").write_text(TOYS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "toy_parts", raising=False)


def cfg(**nodes: Any):
    return OmegaConf.create({"trusted_modules": ["toy_parts"], **nodes})


def node(name: str, **arguments: Any) -> dict[str, Any]:
    return {"_target_": f"toy_parts.{name}", **arguments}


def message(call, *arguments, **named) -> str:
    with pytest.raises(ConfigError) as caught:
        call(*arguments, **named)
    return str(caught.value)


# Where the YAML lies


def test_config_dir_is_the_folder_beside_the_package_in_a_checkout():
    assert Path(config.config_dir()) == Path(config.__file__).parents[2] / "configs"
    assert Path(config.config_dir(), "train.yaml").is_file()


def test_config_dir_is_inside_the_package_in_a_wheel(tmp_path, monkeypatch):
    (tmp_path / "segtrain/configs").mkdir(parents=True)
    monkeypatch.setattr(files, "__file__", str(tmp_path / "segtrain/config/files.py"))
    assert config.config_dir() == str(tmp_path / "segtrain/configs")


@pytest.mark.parametrize("command", SCHEMAS)
def test_every_command_has_its_primary_config(command):
    assert Path(config.config_dir(), f"{command}.yaml").is_file()


# build


def test_a_node_is_a_call_with_the_facts_that_code_knows():
    made = config.build(cfg(model=node("net", dilations=[6, 12])).model, backbone="b", num_classes=20)
    assert made.arguments == {"backbone": "b", "num_classes": 20, "dilations": [6, 12], "dropout": 0.5}


def test_no_omegaconf_container_reaches_a_part():
    made = config.build(cfg(loss=node("free", rates=[1, [2]], table={"a": [3]})).loss)
    assert type(made.arguments["rates"]) is list
    assert type(made.arguments["rates"][1]) is list
    assert type(made.arguments["table"]) is dict
    assert type(made.arguments["table"]["a"]) is list


def test_nodes_among_the_arguments_are_built_first():
    made = config.build(cfg(loss=node("free", one=node("leaf", size=2), many=[node("leaf"), 7])).loss)
    assert made.arguments["one"].arguments == {"size": 2}
    assert made.arguments["many"][0].arguments == {"size": 1}
    assert made.arguments["many"][1] == 7


def test_a_mapping_without_target_gives_what_its_nodes_build():
    made = config.build(cfg(callbacks={"stop": node("leaf", size=3)}).callbacks)
    assert made["stop"].arguments == {"size": 3}


def test_null_gives_none():
    assert config.build(cfg(augment=None).augment) is None


def test_a_fact_is_not_a_key():
    said = message(config.build, cfg(model=node("net", dilations=[], num_classes=3)).model, backbone=1, num_classes=20)
    assert said == "model.num_classes=3: this comes from the dataset or the run, not from a key. Fix: remove it"


def test_a_fact_may_stand_as_missing_in_yaml():
    made = config.build(cfg(model=node("net", dilations=[], num_classes="???")).model, backbone=1, num_classes=20)
    assert made.arguments["num_classes"] == 20


def test_interpolations_are_resolved():
    assert config.build(cfg(seed=4, loss=node("leaf", size="${seed}")).loss).arguments == {"size": 4}


def test_a_wrong_argument_is_refused_by_its_full_key():
    said = message(config.build, cfg(deep={"model": node("leaf", sise=3)}).deep.model)
    assert said == "deep.model.sise: toy_parts.leaf has no argument 'sise'; did you mean size?"


def test_what_a_users_part_raises_is_one_line_with_its_place():
    said = message(config.build, cfg(loss=node("strict", size=1)).loss)
    assert said.startswith("loss: the part raises ValueError: between parts (toy_parts.py line ")


@pytest.mark.parametrize("key", REFUSED_KEYS)
def test_the_keys_of_hydras_instantiate_are_refused(key):
    assert f"loss.{key}: refused" in message(config.build, cfg(loss=node("leaf", **{key: True})).loss)


# The allow-list


@pytest.mark.parametrize(
    "target",
    [
        *(
            "os.system",
            "builtins.eval",
            "pathlib.Path",
            "subprocess.run",
            "eval",
            "",
            ".",
            "segtrain.",
            "..os.system",
        ),
        *(
            "keras.models.load_model",
            "keras.Model",
            "keras.optimizers.Adam.from_config",
            "keras.saving.load_model",
        ),
        *(
            "segtrain.cli.main.main",
            "segtrain.config.build",
            "segtrain.runs.folder.shutil.rmtree",
            "segtrain.data.images.files.cv2.imwrite",
        ),
        *("segtrain.database.x", "toy_partsx.leaf"),
    ],
)
def test_a_target_off_the_allow_list_is_refused_before_anything_is_imported(target):
    before = set(sys.modules)
    said = message(config.validate_root, cfg(loss={"_target_": target}), "summary")
    assert f"loss._target_={target} is refused for safety" in said
    assert f"loss._target_={target} is refused for safety" in message(config.build, cfg(loss={"_target_": target}).loss)
    assert set(sys.modules) == before


def test_what_a_package_only_imports_is_none_of_its_parts():
    assert "segtrain.data has no part Path" in message(targets.find_target, "segtrain.data.Path", (), "dataset")
    assert targets.find_target("segtrain.data.Voc", (), "dataset").__name__ == "Voc"


def test_a_part_that_its_package_does_not_export_is_named_with_its_module():
    error = message(targets.find_target, "segtrain.data.NotDefined", (), "dataset")
    assert "has no part" in error  # defined nowhere
    error = message(targets.find_target, "segtrain.losses.targets", (), "loss")
    assert "segtrain.losses.base defines targets" in error
    assert error.endswith("Fix: add 'from segtrain.losses.base import targets' to segtrain/losses/__init__.py")


def test_a_part_named_by_its_module_gets_its_public_path():
    error = targets.refusal("segtrain.losses.overlap.Dice", (), "loss")
    assert error.endswith("Fix: loss._target_=segtrain.losses.Dice")


def test_trust_is_in_a_module_and_what_lies_below_it():
    assert targets.refusal("mine.losses.Dice", ["mine"], "loss") == ""
    assert targets.refusal("mine.losses.Dice", ["mine.losses"], "loss") == ""
    assert targets.refusal("mine2.Dice", ["mine"], "loss") != ""


def test_a_trusted_module_that_is_not_there_is_named():
    said = message(targets.find_target, "not_here.Loss", ["not_here"], "loss")
    assert said == "loss._target_=not_here.Loss: module not_here not found"


def test_a_broken_import_inside_a_trusted_module_is_not_hidden(tmp_path):
    (tmp_path / "broken_parts.py").write_text("import no_such_module\n")
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        targets.find_target("broken_parts.Loss", ["broken_parts"], "loss")


def test_a_misspelt_part_has_a_near_name():
    said = message(targets.find_target, "segtrain.data.Foldr", (), "dataset")
    assert said == "dataset._target_=segtrain.data.Foldr: segtrain.data has no part Foldr; did you mean Folder?"


# check


def test_check_tells_every_problem_of_every_node_at_once():
    wrong = cfg(
        model=node("net", dilation=[1], dropout="much", num_classes=3),
        callbacks={"stop": node("leaf", size=2.5)},
        loss=node("strict", size="???"),
    )
    assert message(config.validate_calls, wrong, {"model": {"backbone", "num_classes"}}).splitlines() == [
        "6 problems in the configuration:",
        "  - model.dilation: toy_parts.net has no argument 'dilation'; did you mean dilations?",
        "  - model.dropout='much' is of type str, expected float",
        "  - model.num_classes=3: this comes from the dataset or the run, not from a key. Fix: remove it",
        "  - model.dilations is not given: toy_parts.net needs it. Fix: +model.dilations=...",
        "  - callbacks.stop.size=2.5 is of type float, expected int",
        "  - loss.size is not given. Fix: loss.size=...",
    ]


def test_settings_of_another_part_are_one_line_whose_fix_takes_them_out():
    two = message(config.validate_calls, cfg(model=node("leaf", low=1, high=2, size=3)))
    assert "model.low: toy_parts.leaf has no argument 'low'" in two and "model.high: " in two
    said = message(config.validate_calls, cfg(model=node("leaf", low=1, high=2, size=3, deep=4)))
    assert said.startswith("model: toy_parts.leaf has no arguments low, high, deep: ") and "\n" not in said
    assert said.endswith("it takes size. Fix: '~model.low' '~model.high' '~model.deep'")


def test_check_passes_what_build_can_call():
    right = cfg(model=node("net", dilations=[6]), loss=node("free", anything=1))
    config.validate_calls(right, {"model": ("backbone", "num_classes")})
    config.build(right.model, backbone=1, num_classes=2)


def test_check_tells_a_refused_target_among_the_rest():
    said = message(config.validate_calls, cfg(loss={"_target_": "os.system"}, model=node("leaf", x=1)))
    assert said.count("\n  - ") == 2


def test_kwargs_of_a_class_take_the_arguments_of_its_bases_and_no_others():
    config.validate_calls(cfg(optimizer=node("Derived", rate=1, clip=2.0)))
    said = message(config.validate_calls, cfg(optimizer=node("Derived", clap=1)))
    assert "no argument 'clap'; did you mean clip?" in said


def test_an_argument_without_annotation_has_the_type_of_its_default():
    # rate=0.1: an int is a number too, null may mean "none", and a node of its own may give a schedule
    for right in (1, 0.5, None, node("leaf")):
        config.validate_calls(cfg(optimizer=node("Derived", rate=right)))
    said = message(config.validate_calls, cfg(optimizer=node("Derived", rate="x")))
    assert "optimizer.rate='x' is of type str" in said


@pytest.mark.parametrize(
    ("annotation", "right", "wrong"),
    [
        (int, [0, -3], [1.0, True, "1", None, [1]]),
        (float, [0.5, 2], [True, "1", None]),
        (bool, [True], [0, "true", None]),
        (str, ["a"], [1, None]),
        (Path, ["a"], [1]),
        (str | None, ["a", None], [1]),
        (list[int], [[], [1, 2]], [[1.5], 1, "12", {"a": 1}]),
        (tuple[int, int], [[1, 2]], [[1], [1, 2, 3], [1, "2"]]),
        (tuple[int, ...], [[], [1, 2, 3]], [["a"]]),
        (Sequence[tuple[int, int]], [[], [[1, 2]]], [[[1]], [1]]),
        (dict[str, int], [{}, {"a": 1}], [{"a": "b"}, [1]]),
        (Literal["near", "far"], ["near"], ["nearest", 1]),
        (Any, [1, "a", None], []),
        (inspect.Parameter.empty, [1, "a", None], []),
        (inspect.Signature, [1, {"_target_": "x"}], []),  # too rich to judge: left to the call
    ],
)
def test_a_value_fits_its_annotation(annotation, right, wrong):
    assert [value for value in right if annotations.misfit(value, annotation)] == []
    assert [value for value in wrong if not annotations.misfit(value, annotation)] == []


def test_an_expected_type_reads_as_in_yaml():
    assert annotations.misfit(1, str | None) == "str | null"
    assert annotations.misfit(1, Sequence[float]) == "list of float"
    assert annotations.misfit("a", int) == "int"


# validate_root


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 2**63, -(2**64)])
def test_a_number_that_no_array_can_hold_is_refused_at_any_depth(value):
    deep = cfg(model=node("leaf", many=[{"size": [1, value]}]))
    assert f"model.many.0.size.1={value}: expected a" in message(config.validate_root, deep, "train")


def test_a_missing_value_stops_training_but_not_a_summary():
    missing = cfg(dataset=node("leaf", root="???"))
    assert "dataset.root is not given. Fix: dataset.root=..." in message(config.validate_root, missing, "train")
    assert "dataset.root" not in message(config.validate_root, missing, "summary")


def test_every_root_key_has_a_meaning_to_print():
    from dataclasses import fields

    for schema in SCHEMAS.values():
        assert [each.name for each in fields(schema) if not each.metadata["meaning"]] == []


def test_the_environment_does_not_reach_a_config(monkeypatch):
    monkeypatch.setenv("SECRET", "hunter2")
    config.set_up()
    said = message(config.build, cfg(loss=node("leaf", size="${oc.env:SECRET}")).loss)
    assert "${oc.env:SECRET} is refused" in said
    assert "hunter2" not in said


# Near names


@pytest.mark.parametrize(
    ("word", "near"),
    [
        ("epohcs", ["epochs"]),
        ("lr", ["schedule.learning_rate"]),
        ("bs", ["batch_size"]),
        ("learning_rate", ["schedule.learning_rate"]),
        ("modl.aspp_dilations", ["model.aspp_dilations"]),
        ("xyzzy", []),
    ],
)
def test_a_near_name_is_near_by_spelling_last_part_or_initials(word, near):
    known = [
        "epochs",
        "batch_size",
        "seed",
        "schedule.learning_rate",
        "schedule.power",
        "model.aspp_dilations",
    ]
    assert did_you_mean(word, known) == (f"; did you mean {' or '.join(near)}?" if near else "")


# The YAML of segtrain itself, against the signatures: imports TensorFlow


@pytest.mark.tensorflow
@pytest.mark.parametrize(("group", "option"), NODES)
def test_every_option_fits_the_signature_of_what_it_calls(group, option):
    from segtrain.builders.network import build_arguments

    options = OmegaConf.load(Path(config.config_dir(), group, f"{option}.yaml"))
    if "defaults" in options:
        with initialize_config_dir(config.config_dir(), version_base="1.3"):
            options = compose(f"{group}/{option}")[group]
    cfg = OmegaConf.create({group: options})
    known = build_arguments(cfg)
    for key in OmegaConf.missing_keys(cfg):  # what only the user knows, in nodes within nodes too
        where, _, argument = key.rpartition(".")
        known[where] = (*known.get(where, ()), argument)
    config.validate_calls(cfg, known)


@pytest.mark.tensorflow
def test_keras_parts_are_the_public_classes_only():
    assert targets.find_target("keras.optimizers.AdamW", (), "optimizer").__name__ == "AdamW"
    for target in (
        "keras.losses.deserialize",
        "keras.losses.get",
        "keras.optimizers.legacy",
        "keras.callbacks.__doc__",
    ):
        assert "has no part" in message(targets.find_target, target, (), "loss")


@pytest.mark.tensorflow
def test_a_value_that_keras_refuses_is_a_config_error():
    node = OmegaConf.create({"loss": {"_target_": "keras.losses.SparseCategoricalCrossentropy", "reduction": "summ"}})
    assert message(config.build, node.loss).startswith("loss: keras.losses.SparseCategoricalCrossentropy refuses")


@pytest.mark.tensorflow
def test_keras_optimizers_take_the_arguments_of_their_base():
    named, any_name = annotations.parameters(targets.find_target("keras.optimizers.Adam", (), "optimizer"))
    assert {
        "learning_rate",
        "beta_1",
        "global_clipnorm",
        "use_ema",
        "gradient_accumulation_steps",
    } <= named.keys()
    assert not any_name


def test_config_imports_no_tensorflow():
    program = "import sys, segtrain.config; print({'tensorflow', 'keras', 'numpy'} & sys.modules.keys())"
    folder = Path(config.__file__).parents[1]
    assert subprocess.check_output([sys.executable, "-c", program], text=True, cwd=folder) == "set()\n"
