"""Clusters of processes on this machine, for tests of training by several workers."""

import json
import os
import socket
import subprocess
import time


def tf_configs(number):
    """TF_CONFIG of each worker, at ports that are free now."""
    listening = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    workers = [f"127.0.0.1:{each.getsockname()[1]}" for each in listening]
    for each in listening:
        each.close()
    return [
        json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}})
        for index in range(number)
    ]


def start_workers(command, number, folder):
    """Start a command as each worker of a cluster; what they print lies in the folder, as `0.out`, `0.err`, ..."""
    folder.mkdir()
    workers = []
    for index, tf_config in enumerate(tf_configs(number)):
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "TF_CONFIG": tf_config}
        with (folder / f"{index}.out").open("w") as out, (folder / f"{index}.err").open("w") as err:
            workers.append(subprocess.Popen([*map(str, command)], env=environment, stdout=out, stderr=err))
    return workers


def exit_codes(workers, seconds):
    """Wait for the end of all; None for one that went on for too long, which is killed."""
    deadline, codes = time.monotonic() + seconds, []
    for worker in workers:
        try:
            codes.append(worker.wait(max(deadline - time.monotonic(), 0)))
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()
            codes.append(None)
    return codes


def printed_lines(folder, index):
    """Our own lines of a worker's errors: those of TensorFlow's C++ begin with a letter and the date or time."""
    lines = (folder / f"{index}.err").read_text().splitlines()
    return [line for line in lines if line.startswith(("ser-keras", "Traceback"))]
