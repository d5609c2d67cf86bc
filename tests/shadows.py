"""Python files of names that libraries look for, each of which leaves a line when it runs."""

from pathlib import Path

# Optional packages of what segtrain stands on, launchers and trackers, installed packages, and Python's own modules.
OPTIONAL = [
    "pandas",
    "psutil",
    "jax",
    "jaxlib",
    "sklearn",
    "torch",
    "torchvision",
    "IPython",
    "ipykernel",
    "matplotlib_inline",
    "cupy",
    "numba",
    "polars",
    "pyarrow",
    "dask",
    "wandb",
    "mlflow",
    "optuna",
    "joblib",
    "submitit",
    "cloudpickle",
    "tqdm_auto",
    "pydot",
    "graphviz",
    "openvino",
    "tensorrt",
    "simplejson",
    "orjson",
    "ujson",
    "colorama",
    "brotli",
    "lz4",
    "zstandard",
    "botocore",
    "boto3",
    "google_crc32c",
    "fsspec",
    "tables",
    "olefile",
    "defusedxml",
    "cffi",
    "pytest_plugin",
    "tf_keras",
    "tensorflow_datasets",
    "keras_tuner",
    "ml_dtypes_ext",
    "numexpr",
    "bottleneck",
    "lxml",
    "attr",
    "rich_ext",
    "portpicker",
]
INSTALLED = ["numpy", "tensorflow", "keras", "hydra", "omegaconf", "yaml", "cv2", "PIL", "h5py", "safetensors", "tqdm"]
STANDARD = ["json", "logging", "pickle", "random", "socket", "tempfile", "sitecustomize", "usercustomize", "readline"]
NAMES = [*OPTIONAL, *INSTALLED, *STANDARD]


def write_shadows(folder: Path, names: list[str] = NAMES) -> Path:
    """Write the files into a folder; return the file that gets a line for each that runs."""
    ran = folder / "ran.txt"
    body = f"open({str(ran)!r}, 'a').write(__name__ + '\\n')\nraise ImportError('a shadow ran')\n"
    for name in names:
        (folder / f"{name}.py").write_text(body)
    plugin = folder / "hydra_plugins" / "shadow"
    plugin.mkdir(parents=True)
    (plugin / "__init__.py").write_text(body)
    return ran
