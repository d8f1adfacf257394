#!/usr/bin/env python3
"""The way back from a package of tools/convert.py: ONNX -> checkpoint in Hugging Face layout, for the tests.

    python tools/checkpoint.py tests/packages/tiny-squeezebert tests/checkpoints/tiny-squeezebert

Writes config.json, tokenizer.json, tokenizer_config.json and model.safetensors (matrices fp16, as the package has them;
biases and layer norms fp32), and beside the folder, as OUT.bin, the same tensors as `torch.save` writes a state dict,
made without torch: a zip with one pickle and one file a storage. The same input gives the same bytes.
"""
import argparse
import collections
import io
import pickle
import shutil
import zipfile
from pathlib import Path

import numpy as np
import onnx
from safetensors.numpy import save_file

COPIED = ("config.json", "tokenizer.json", "tokenizer_config.json")


def tensors(package):
    """Undoes what tools/convert.py does to a matrix: transposed, and one block a group."""
    stored = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(package / "model.onnx").graph.initializer}
    out = {}
    for name, array in stored.items():
        if name.startswith(("ints_", "scalar_")):
            continue
        if name.endswith(".weight.0"):
            whole = name[:-2]
            blocks = [stored[f"{whole}.{i}"].T for i in range(sum(n.startswith(whole + ".") for n in stored))]
            out[whole] = np.concatenate(blocks)[:, :, None]
        elif name.endswith(".conv1d.weight"):
            out[name] = array.T[:, :, None]
        elif name.endswith(("dense.weight", "classifier.weight")):
            out[name] = array.T
        elif ".weight." not in name:
            out[name] = array
    return {name: np.ascontiguousarray(out[name]) for name in sorted(out)}


class Storage:
    """Stands for a torch storage: what the pickle refers to, and does not hold."""

    def __init__(self, key, array):
        self.key, self.array = key, array


class Global:
    """Stands for a function or class of torch's, by name."""

    def __init__(self, module, name):
        self.module, self.name = module, name


class Rebuild:
    """Stands for a tensor: a call of torch._utils._rebuild_tensor_v2."""

    def __init__(self, *arguments):
        self.arguments = arguments


class Pickler(pickle._Pickler):
    def persistent_id(self, value):
        if isinstance(value, Storage):
            kind = Global("torch", {"float32": "FloatStorage", "float16": "HalfStorage"}[value.array.dtype.name])
            return ("storage", kind, value.key, "cpu", value.array.size)
        return None

    def save(self, value, save_persistent_id=True):
        if isinstance(value, Global):
            self.write(pickle.GLOBAL + f"{value.module}\n{value.name}\n".encode())
        elif isinstance(value, Rebuild):
            self.save(Global("torch._utils", "_rebuild_tensor_v2"))
            super().save(value.arguments)
            self.write(pickle.REDUCE)
        else:
            super().save(value, save_persistent_id)


def torch_save(state, path):
    order, storages = collections.OrderedDict(), []
    for name, array in state.items():
        storage = Storage(str(len(storages)), array)
        storages.append(storage)
        strides = tuple(s // array.itemsize for s in array.strides)
        order[name] = Rebuild(storage, 0, array.shape, strides, False, collections.OrderedDict())
    data = io.BytesIO()
    Pickler(data, protocol=2).dump(order)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        def put(name, content):
            archive.writestr(zipfile.ZipInfo(f"archive/{name}"), content)

        put("data.pkl", data.getvalue())
        put("byteorder", "little")
        for storage in storages:
            put(f"data/{storage.key}", storage.array.tobytes())
        put("version", "3\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("package", type=Path)
    parser.add_argument("out", type=Path)
    a = parser.parse_args()
    a.out.mkdir(parents=True, exist_ok=True)
    for file in COPIED:
        shutil.copyfile(a.package / file, a.out / file)
    state = tensors(a.package)
    save_file(state, a.out / "model.safetensors", metadata={"format": "pt"})
    torch_save(state, a.out.with_suffix(".bin"))
