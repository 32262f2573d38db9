"""Configuration keys that Storm knows and that have nothing to act on here: accepted, with a note that they do nothing.

Topologies brought over from Storm carry them, and refusing them would make moving harder for no gain. The list is
explicit, so that a misspelt key is still an error.

Source: apache/storm storm-client Config.java, and pystorm's own `pystorm.log.*` keys.
"""

from __future__ import annotations

#: Without the "topology." that each of them starts with.
_TOPOLOGY_KEYS = """
acker.executors auto-credentials backpressure.enable backpressure.wait.strategy batch.flush.interval.millis
blobstore.map bolt.wait.strategy builtin.metrics.bucket.size.secs classpath component.cpu.pcore.percent
component.resources.offheap.memory.mb component.resources.onheap.memory.mb disruptor.wait.strategy environment
error.throttle.interval.secs eventlogger.executors executor.receive.buffer.size executor.send.buffer.size
fall.back.on.java.serialization flush.tuple.freq.millis isolate.machines kryo.decorators kryo.factory kryo.register
max.error.report.per.interval max.task.parallelism metrics.consumer.register metrics.reporters multilang.serializer
optimize priority producer.batch.size python.path receiver.buffer.size scheduler.strategy
serialized.message.size.metrics shellbolt.max.pending skip.missing.kryo.registrations spout.wait.strategy
stats.sample.rate submitter.principal submitter.user subprocess.timeout.secs tasks transfer.buffer.size
trident.batch.emit.interval.millis tuple.serializer users version worker.childopts worker.gc.childopts
worker.logwriter.childopts worker.max.heap.size.mb worker.shared.thread.pool.size
""".split()

#: Keys of Storm and of pystorm's log files that are accepted and do nothing.
NO_EFFECT_KEYS = frozenset(
    [f"topology.{key}" for key in _TOPOLOGY_KEYS]
    + ["worker.childopts", "pystorm.log.path", "pystorm.log.file", "pystorm.log.format"]
)

#: Every key that starts like this belongs to Storm's daemons.
NO_EFFECT_PREFIXES = ("nimbus.", "supervisor.", "storm.zookeeper.", "storm.messaging.")


def has_no_effect(key: str) -> bool:
    """Whether a key is Storm's and does nothing here."""
    return key in NO_EFFECT_KEYS or key.startswith(NO_EFFECT_PREFIXES)
