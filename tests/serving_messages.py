"""Two of TF Serving's published messages that its package on PyPI leaves out.

Names and numbers as in tensorflow_serving/servables/tensorflow/session_bundle_config.proto and
tensorflow_serving/config/monitoring_config.proto; fields that nothing here writes are not listed.
"""

from google.protobuf import descriptor_pool, json_format, message_factory, wrappers_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorProto


def _field(name, number, kind, label="LABEL_OPTIONAL"):
    is_message = kind.startswith(".")
    field = {"name": name, "number": number, "label": label, "type": "TYPE_MESSAGE" if is_message else f"TYPE_{kind}"}
    return {**field, "typeName": kind} if is_message else field


_INT64_VALUE = ".google.protobuf.Int64Value"
_FILE = {
    "name": "serving_messages.proto",
    "package": "published",
    "syntax": "proto3",
    "dependency": [wrappers_pb2.DESCRIPTOR.name],
    "messageType": [
        {
            "name": "BatchingParameters",
            "field": [
                _field("max_batch_size", 1, _INT64_VALUE),
                _field("batch_timeout_micros", 2, _INT64_VALUE),
                _field("max_enqueued_batches", 3, _INT64_VALUE),
                _field("num_batch_threads", 4, _INT64_VALUE),
                _field("allowed_batch_sizes", 6, "INT64", "LABEL_REPEATED"),
                _field("pad_variable_length_inputs", 7, "BOOL"),
            ],
        },
        {"name": "PrometheusConfig", "field": [_field("enable", 1, "BOOL"), _field("path", 2, "STRING")]},
        {"name": "MonitoringConfig", "field": [_field("prometheus_config", 1, ".published.PrometheusConfig")]},
    ],
}

_pool = descriptor_pool.DescriptorPool()
_pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
_pool.AddSerializedFile(json_format.ParseDict(_FILE, FileDescriptorProto()).SerializeToString())
BatchingParameters = message_factory.GetMessageClass(_pool.FindMessageTypeByName("published.BatchingParameters"))
MonitoringConfig = message_factory.GetMessageClass(_pool.FindMessageTypeByName("published.MonitoringConfig"))
