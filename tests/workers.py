"""`ser-keras train` as a program that says what became of the weights, and leaves out report page and export.

python tests/workers.py CPUS ARGUMENT ...    CPUS: devices to make of the processor; then those of `ser-keras train`
"""

import hashlib
import json
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

from ser_keras import evaluation, export, training
from ser_keras.cli import main
from ser_keras.distribution.replicas import Replicas
from ser_keras.pipeline.batches import labelled_batches
from ser_keras.training.setup import contents

train_model = training.train_model


def watched(model, train_data, val_data, **settings):
    """Train, and print what the tests want to know."""
    history = train_model(model, train_data, val_data, **settings)
    facts = {
        "epochs": len(history.history["val_uar"]),
        "weights": [replica_hash(model, replica) for replica in range(len(values(model.weights[0])))],
        "seeds": [
            [value.tolist() for value in values(each)]
            for each in model.non_trainable_variables
            if each.name == "seed_generator_state"
        ],
        **figures_of_random_weights(model.copy(), model, val_data),
    }
    print("FACTS", json.dumps(facts), flush=True)
    return history


def replica_hash(model, replica):
    return hashlib.sha256(b"".join(values(each)[replica].tobytes() for each in model.weights)).hexdigest()


def values(weight):
    """The value of a weight in each replica of this process."""
    return [each.numpy() for each in getattr(weight.value, "values", [weight.value])]


def figures_of_random_weights(alone, model, val_data):
    """Accuracy and UAR of one model that is as good as its random weights, by replicas together and by one alone."""
    random = np.random.default_rng(0)
    weights = [each + 0.5 * np.abs(each).mean() * random.normal(size=each.shape) for each in alone.get_weights()]
    alone.set_weights(weights)
    model.set_weights(weights)
    report = evaluation.evaluate_model(alone, val_data)
    batches = labelled_batches(val_data, model.num_emotions)
    found = contents(batches, "validation")
    shares = Replicas(model.distribute_strategy).share_validation(batches, found.batch_sizes, found.checksum)
    together = model.evaluate(shares, verbose=0, return_dict=True)
    return {
        "together": [together["accuracy"], together["uar"]],
        "alone": [report.accuracy, report.unweighted_average_recall],
    }


if __name__ == "__main__":
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * int(sys.argv[1]))
    training.train_model = watched
    export.export_model = evaluation.Report.save_html = lambda *_, **__: None
    sys.exit(main(["train", *sys.argv[2:]]))
