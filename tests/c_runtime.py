"""A C program that runs an exported model: no Python in its process. `c/serve.c` is its source."""

import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

SOURCE = Path(__file__).parent / "c" / "serve.c"
LIBRARY = "libtensorflow_cc.so.2"


def why_not():
    """Why the program cannot be built on this machine; None where it can."""
    if _compiler() is None:
        return "there is no C compiler on this machine"
    if not (Path(tf.sysconfig.get_lib()) / LIBRARY).exists():
        return f"this TensorFlow comes without {LIBRARY}"
    return None


class CProgram:
    """Builds the program; to call it is to run it on a signature's inputs.

    Args:
        exported: the model's version directory.
        folder: for the program and what goes in and out.
    """

    def __init__(self, exported, folder):
        self._exported, self._folder = exported, Path(folder)
        content = saved_model_pb2.SavedModel.FromString((exported / "saved_model.pb").read_bytes())
        self._signatures = content.meta_graphs[0].signature_def
        self._program = self._folder / "serve"
        libraries = tf.sysconfig.get_lib()
        command = [_compiler(), "-O1", "-Wall", "-Werror", f"-I{tf.sysconfig.get_include()}", str(SOURCE)]
        command += [f"-L{libraries}", f"-l:{LIBRARY}", "-l:libtensorflow_framework.so.2", f"-Wl,-rpath,{libraries}"]
        subprocess.run([*command, "-o", str(self._program)], check=True)

    def __call__(self, signature, **inputs):
        """Return the outputs by name, strings as bytes."""
        names = self._signatures[signature]
        command = [str(self._program), str(self._exported)]
        for name, value in inputs.items():
            command += _given(names.inputs[name].name, value, self._folder / name)
        for name, tensor in names.outputs.items():
            command += ["-o", tensor.name, str(self._folder / f"out_{name}")]
        process = subprocess.run(command, check=True, capture_output=True, text=True)
        shapes = {line.split()[0]: tuple(map(int, line.split()[1:])) for line in process.stdout.splitlines()}
        return {
            name: _read(self._folder / f"out_{name}", tensor.dtype, shapes[tensor.name])
            for name, tensor in names.outputs.items()
        }


def _compiler():
    return shutil.which("cc") or shutil.which("gcc")


def _given(name, value, path):
    if isinstance(value, list):  # files
        paths = [path.with_name(f"{path.name}_{index}") for index in range(len(value))]
        for each, contents in zip(paths, value, strict=True):
            each.write_bytes(contents)
        return ["-s", name, str(len(value)), *map(str, paths)]
    value.tofile(path)
    return ["-f", name, str(len(value)), str(path)] if value.ndim == 2 else ["-i", name, str(path)]


def _read(path, dtype, shape):
    content = path.read_bytes()
    if dtype != tf.string.as_datatype_enum:
        return np.frombuffer(content, tf.as_dtype(dtype).as_numpy_dtype).reshape(shape)
    texts, offset = [], 0
    while offset < len(content):
        (size,) = struct.unpack_from("<q", content, offset)
        texts.append(content[offset + 8 : offset + 8 + size])
        offset += 8 + size
    return np.array(texts, object).reshape(shape)
