"""Software, hardware and data that a run's numbers depend on: where they differ, a resumed run is not bit-exact."""

import os
from collections.abc import Iterable, Sequence

import keras
import tensorflow as tf

from segtrain.data.images.sample import Sample
from segtrain.runs.environment import describe_contents, installed
from segtrain.training.replicas import Replicas


def fingerprint(samples: Iterable[Sample], validation: Sequence[Sample], replicas: Replicas) -> dict[str, str]:
    """Describe this process and the training data.

    Args:
        samples: Training samples, see `installed`.
        validation: Validation samples.
        replicas: Replicas of the run; their number changes the order in which sums are rounded.

    Returns:
        Name, such as `tensorflow` or `threads` -> description; `data` and `validation` describe the samples.
    """
    threads = tf.config.threading.get_intra_op_parallelism_threads() or len(os.sched_getaffinity(0))
    return {
        **installed(samples),
        "validation": describe_contents(validation),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "threads": str(threads),
        "devices": ", ".join(sorted(device.device_type for device in tf.config.list_logical_devices())),
        "replicas": replicas.description,
    }
