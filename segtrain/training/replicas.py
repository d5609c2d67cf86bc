"""Replicas of a run: one device, several devices of this process, or those of several processes.

Each replica computes the gradients of its part of a batch. Losses and gradients add up to those of the full batch for
any number of replicas; for batch norm statistics this holds only if they are synchronized.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, final

import numpy as np
import tensorflow as tf

from segtrain.errors import ConfigError, ResourceError
from segtrain.training.cluster import Cluster, find_cluster


@final
class Replicas:
    """Replicas of a run, on top of `tf.distribute`.

    Args:
        strategy: Places variables and steps on devices; the default strategy uses a single device.
        process: Index of this process; process 0 is the chief, the only one that writes files.
        num_processes: Number of processes.

    Attributes:
        strategy: See above.
        process: See above.
        num_processes: See above.
        count: Number of replicas of all processes.
        num_here: Number of replicas of this process.
    """

    def __init__(self, strategy: tf.distribute.Strategy, process: int = 0, num_processes: int = 1) -> None:
        self.strategy = strategy
        self.process = process
        self.num_processes = num_processes
        self.count: int = strategy.num_replicas_in_sync
        self.num_here = self.count // num_processes

        @tf.function(reduce_retracing=True)
        def total(array: tf.Tensor) -> Any:
            def add() -> tf.Tensor:
                is_first = self._local_index() == 0
                return self.sum_over(tf.where(is_first, array, tf.zeros_like(array)))

            return strategy.run(add)

        self._total = total

    @property
    def is_chief(self) -> bool:
        """Whether this process writes the files."""
        return self.process == 0

    @property
    def description(self) -> str:
        """Number of replicas, and of processes where there are several: "8 of 2 processes"."""
        return str(self.count) + (f" of {self.num_processes} processes" if self.num_processes > 1 else "")

    def run(self, step: Callable[..., Any], *arguments: Any) -> Any:
        """Run a step on every replica of this process; return the result of its first replica."""
        found = self.strategy.run(step, args=arguments)
        return tf.nest.map_structure(lambda each: self.strategy.experimental_local_results(each)[0], found)

    def sum_over(self, tensors: Any) -> Any:
        """Add up a structure of tensors over all replicas; to be called within a step."""
        if self.count == 1:
            return tensors
        context = tf.distribute.get_replica_context()
        # all_reduce needs each tensor on a device, which identity places it on.
        own = tf.nest.map_structure(tf.identity, tensors)
        return context.all_reduce(tf.distribute.ReduceOp.SUM, own)

    def own_part(self, batch: tf.Tensor, parts: int) -> tf.Tensor:
        """Take this replica's part of the samples that its process loaded; to be called within a step."""
        if self.num_here == 1:
            return batch
        shape = tf.shape(batch)
        split = tf.reshape(batch, tf.concat([[parts, self.num_here, -1], shape[1:]], axis=0))
        own = tf.gather(split, self._local_index(), axis=1)
        return tf.reshape(own, tf.concat([[-1], shape[1:]], axis=0))

    def sample_indices(self, batch_size: int, parts: int) -> list[int]:
        """Return the indices in a batch of the samples that this process loads, in the order `own_part` expects.

        Args:
            batch_size: Number of samples over all replicas.
            parts: Micro-batches per step of each replica. Micro-batch p of all replicas together holds the same samples
                as on a single device.
        """
        order = np.arange(batch_size).reshape(parts, self.num_processes, -1)
        return [int(index) for index in order[:, self.process].reshape(-1)]

    def total(self, array: np.ndarray) -> np.ndarray:
        """Add up an array over the processes; all of them must call this."""
        if self.num_processes == 1:
            return array
        found = self._total(tf.convert_to_tensor(array))
        return np.asarray(self.strategy.experimental_local_results(found)[0])

    def broadcast(self, message: bytes = b"") -> bytes:
        """Return the chief's message in every process; all of them must call this."""
        if self.num_processes == 1:
            return message
        length = int(self.total(np.array(len(message) if self.is_chief else 0, np.int64)))
        words = np.zeros(-(-length // 4), np.int32)
        if self.is_chief:
            words.view(np.uint8)[:length] = np.frombuffer(message, np.uint8)
        return self.total(words).tobytes()[:length]

    @contextmanager
    def report_lost_process(self) -> Iterator[None]:
        """Turn TensorFlow's errors about a lost process into one line.

        Raises:
            ResourceError: Another process has ended.
        """
        try:
            yield
        except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError) as error:
            if self.num_processes == 1:
                raise
            raise ResourceError(
                f"process {self.process} of {self.num_processes} lost another process, which was killed or ended "
                f"with its own error. Fix: read its output, then start all of them again with resume=auto"
            ) from error

    def _local_index(self) -> Any:
        """Index within this process of the replica that a step is traced for."""
        return tf.distribute.get_replica_context().replica_id_in_sync_group % self.num_here


def one_replica() -> Replicas:
    """Return a single replica, on the device that TensorFlow picks."""
    return Replicas(tf.distribute.get_strategy())


def find_replicas(strategy: str, replicas: int | None = None, environ: Mapping[str, str] = os.environ) -> Replicas:
    """Set up the replicas of a run. To be called before TensorFlow computes anything.

    Args:
        strategy: `one` device; `mirrored`, the devices of this process; `multiworker`, those of all processes named by
            the environment; `auto`, the last of these that is available.
        replicas: Number of replicas of `mirrored`; None uses all GPUs. Without GPUs the CPU is split, to try it out.
        environ: Environment variables, see `find_cluster`.

    Raises:
        ConfigError: Fewer devices or processes are available than asked for.
    """
    tf.get_logger().setLevel("WARNING")  # it logs every all-reduce
    gpus = tf.config.list_physical_devices("GPU")
    cluster = find_cluster(environ) if strategy in ("auto", "multiworker") else None
    if strategy == "auto":
        strategy = "multiworker" if cluster else "mirrored" if len(gpus) > 1 or replicas else "one"
    if replicas is not None and strategy != "mirrored":
        raise ConfigError(f"replicas={replicas} with strategy={strategy}: for mirrored only. Fix: strategy=mirrored")
    if strategy == "one":
        return one_replica()
    if strategy == "mirrored":
        return Replicas(tf.distribute.MirroredStrategy(_devices(gpus, replicas)))
    if cluster is None:
        raise ConfigError(
            "strategy=multiworker: neither TF_CONFIG nor the variables of Slurm's srun name a second process. Fix: set "
            "TF_CONFIG as docs/scale.md shows, or strategy=auto"
        )
    return _of_processes(cluster, gpus)


def _devices(gpus: list[Any], replicas: int | None) -> list[str]:
    if gpus:
        wanted = replicas or len(gpus)
        if wanted <= len(gpus):
            return [f"GPU:{number}" for number in range(wanted)]
        raise ConfigError(f"replicas={replicas}: {len(gpus)} GPUs found, expected as many. Fix: replicas={len(gpus)}")
    if replicas is None:
        raise ConfigError("strategy=mirrored: no GPU found. Fix: strategy=one, or replicas=2 to try it on the CPU")
    (cpu,) = tf.config.list_physical_devices("CPU")
    if len(tf.config.get_logical_device_configuration(cpu) or [None]) < replicas:
        try:
            tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * replicas)
        except RuntimeError as error:
            raise ConfigError(
                f"replicas={replicas}: TensorFlow has started with fewer in this process, as in a sweep. Fix: train "
                f"in a separate process"
            ) from error
    return [f"CPU:{number}" for number in range(replicas)]


def _of_processes(cluster: Cluster, gpus: list[Any]) -> Replicas:
    if cluster.num_local > 1 and len(gpus) >= cluster.num_local:
        # Several processes see the same GPUs: each takes its own.
        tf.config.set_visible_devices(gpus[cluster.local_index :: cluster.num_local], "GPU")
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": list(cluster.addresses)}),
        task_type="worker",
        task_id=cluster.number,
        rpc_layer="grpc",
    )
    kinds = tf.distribute.experimental.CommunicationImplementation
    options = tf.distribute.experimental.CommunicationOptions(implementation=kinds.AUTO if gpus else kinds.RING)
    strategy = tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver, communication_options=options)
    return Replicas(strategy, cluster.number, len(cluster.addresses))
