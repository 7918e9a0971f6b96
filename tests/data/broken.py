"""Data files that are broken, each in a way of its own: writers that give the name to read and what it must name."""

from __future__ import annotations

import gzip
import io
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.lib import format as npy
from PIL import Image

from .files import write_images, write_npz

__all__ = ["ARRAYS", "FOLDERS", "PICTURES", "POSTSCRIPT", "TABLES", "png_of_size"]

Writer = Callable[[Path], str]


def png(width: int = 6, height: int = 4) -> bytes:
    file = io.BytesIO()
    Image.new("L", (width, height), 7).save(file, "png")
    return file.getvalue()


def png_of_size(width: int, height: int, more: bytes = b"") -> bytes:
    """A small PNG whose header states any size."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + more + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")


def text_chunk() -> bytes:
    """A compressed remark that unpacks to far more than it is."""
    content = b"note\0\0" + zlib.compress(b"a" * 2**25)
    return struct.pack(">I", len(content)) + b"zTXt" + content + struct.pack(">I", zlib.crc32(b"zTXt" + content))


def saved(kind: str, mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).convert(mode).save(file, kind)
    return file.getvalue()


def tiff(entries: list[tuple[int, int, int, int]]) -> bytes:
    """A TIFF with these tags (number, type, count, value) and no pixels."""
    found = b"II*\0" + struct.pack("<IH", 8, len(entries))
    return found + b"".join(struct.pack("<HHII", *entry) for entry in entries) + struct.pack("<I", 0)


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"
PICTURES: dict[str, tuple[str, bytes]] = {
    "of no byte": ("a.png", b""),
    "cut short": ("a.png", png(60, 60)[:70]),
    "png without its end": ("a.png", png(60, 60)[:-30]),
    "jpeg cut short": ("a.jpg", saved("jpeg")[:-200]),
    "jpeg without pixels": ("a.jpg", saved("jpeg")[:180]),
    "gif cut short": ("a.gif", saved("gif", "P")[:900]),
    "webp cut short": ("a.webp", saved("webp")[:-300]),
    "tiff cut short": ("a.tif", saved("tiff")[:-300]),
    "bmp cut short": ("a.bmp", saved("bmp")[:-300]),
    "ppm without size": ("a.ppm", b"P6\n-1 -1\n255\n"),
    "ppm of words": ("a.ppm", b"P6\nfour four\n255\n"),
    "ico cut short": ("a.ico", saved("ico")[:30]),
    "texts that are called png": ("a.png", b"this is no picture\n" * 9),
    "a page of html": ("a.jpg", b"<!DOCTYPE html><html>Not found</html>"),
    "a pointer of git lfs": ("a.png", b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"),
    "a bomb": ("a.png", png_of_size(60_000, 60_000)),
    "a bomb of a size that is warned of": ("a.png", png_of_size(12_000, 12_000)),
    "a bomb without an ending": ("picture", png_of_size(60_000, 60_000)),
    "a bomb in a remark": ("a.png", png_of_size(4, 4, text_chunk())),
    "png of no width": ("a.png", png_of_size(0, 4)),
    "png of a wrong checksum": ("a.png", png()[:20] + b"\xff\xff" + png()[22:]),
    "tiff that points nowhere": ("a.tif", b"II*\0" + struct.pack("<I", 2**31)),
    "tiff without pixels": ("a.tif", tiff([(256, 4, 1, 8), (257, 4, 1, 8), (262, 3, 1, 1)])),
    "tiff of a wide tag": ("a.tif", tiff([(256, 4, 1, 8), (257, 4, 1, 8), (258, 3, 2**30, 8)])),
    "tiff whose strips are strings": ("a.tif", tiff([(256, 2, 4, 8), (257, 4, 1, 8), (273, 2, 4, 8)])),
    "psd cut short": ("a.psd", b"8BPS\0\1" + b"\0" * 20),
    "jpeg 2000 cut short": ("a.jp2", b"\x00\x00\x00\x0cjP  \r\n\x87\n" + b"\0" * 20),
    "dds of a strange form": ("a.dds", b"DDS " + struct.pack("<I", 124) + b"\xff" * 120),
    "qoi cut short": ("a.qoi", b"qoif" + struct.pack(">IIBB", 40, 40, 3, 0)),
    "avif cut short": ("a.avif", b"\0\0\0\x1cftypavif" + b"\0" * 30),
    "sgi cut short": ("a.sgi", b"\x01\xda\x01\x01\0\3" + struct.pack(">HHH", 40, 40, 3) + b"\0" * 600),
    "tga cut short": ("a.tga", b"\0\0\x0a" + b"\0" * 9 + struct.pack("<HHBB", 40, 40, 24, 0) + b"\xff"),
    "icns cut short": ("a.icns", b"icns" + struct.pack(">I", 99) + b"ic07" + struct.pack(">I", 2**31)),
    "flic cut short": ("a.fli", b"\0\0\0\0\x11\xaf" + b"\1" * 140),
}


def _with(name: str, content: bytes) -> Writer:
    def write(folder: Path) -> str:
        (folder / name).write_bytes(content)
        return f"npz:{folder / name}"

    return write


def npz_of(content: bytes, other: bytes | None = None, method: int = zipfile.ZIP_STORED) -> Writer:
    """An archive with the bytes of the arrays `x` and `y`."""

    def write(folder: Path) -> str:
        with zipfile.ZipFile(folder / "a.npz", "w", method) as archive:
            archive.writestr("x.npy", content)
            archive.writestr("y.npy", array(np.arange(3)) if other is None else other)
        return f"npz:{folder / 'a.npz'}"

    return write


def array(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def header(said: str, more: bytes = b"") -> bytes:
    """An array file whose header says this."""
    text = said.encode("latin1")
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return npy.magic(1, 0) + struct.pack("<H", len(text)) + text + more


def stated(shape: object, descr: str = "<f8", more: bytes = bytes(24)) -> bytes:
    return header(repr({"descr": descr, "fortran_order": False, "shape": shape}), more)


def flipped(folder: Path) -> str:
    """A checksum that is not that of the content."""
    path = write_npz(folder / "a.npz")
    content = bytearray(path.read_bytes())
    content[400] ^= 0xFF
    path.write_bytes(content)
    return f"npz:{path}"


def deflated(folder: Path) -> str:
    """Compressed bytes that cannot be unpacked."""
    np.savez_compressed(folder / "a.npz", x=np.arange(3000.0), y=np.arange(3000) % 3)
    content = bytearray((folder / "a.npz").read_bytes())
    content[200:260] = b"\xff" * 60
    (folder / "a.npz").write_bytes(content)
    return f"npz:{folder / 'a.npz'}"


def locked(folder: Path) -> str:
    """Marked as encrypted."""
    path = write_npz(folder / "a.npz")
    content = bytearray(path.read_bytes())
    for place in (content.find(b"PK\3\4") + 6, content.find(b"PK\1\2") + 8):
        content[place] |= 1
    path.write_bytes(content)
    return f"npz:{path}"


def method(folder: Path) -> str:
    """Packed in a way that nobody knows."""
    path = write_npz(folder / "a.npz")
    content = bytearray(path.read_bytes())
    place = 0
    while (place := content.find(b"PK\1\2", place + 1)) > 0:
        content[place + 10] = 77
    path.write_bytes(content)
    return f"npz:{path}"


def bomb(folder: Path) -> str:
    """A small archive that states to unpack to more than there is memory."""
    with zipfile.ZipFile(folder / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("x.npy", "w") as file:
            file.write(stated((3, 2**50), "|u1", b""))
        archive.writestr("y.npy", array(np.arange(3)))
    content = bytearray((folder / "a.npz").read_bytes())
    place = content.find(b"PK\1\2")
    content[place + 24 : place + 28] = struct.pack("<I", 2**32 - 2)
    (folder / "a.npz").write_bytes(content)
    return f"npz:{folder / 'a.npz'}"


def saved_arrays(**arrays: np.ndarray) -> Writer:
    def write(folder: Path) -> str:
        np.savez(folder / "a.npz", **arrays)  # type: ignore[arg-type]
        return f"npz:{folder / 'a.npz'}"

    return write


def _folder(folder: Path) -> str:
    (folder / "a.npz").mkdir()
    return f"npz:{folder / 'a.npz'}"


def _dangling(ending: str, scheme: str) -> Writer:
    def write(folder: Path) -> str:
        (folder / f"a.{ending}").symlink_to(folder / "gone")
        return f"{scheme}:{folder}/a.{ending}"

    return write


def _pipe(ending: str, scheme: str) -> Writer:
    def write(folder: Path) -> str:
        os.mkfifo(folder / f"a.{ending}")
        return f"{scheme}:{folder}/a.{ending}"

    return write


Y = np.arange(3)
ARRAYS: dict[str, Writer] = {
    "of no byte": _with("a.npz", b""),
    "words": _with("a.npz", b"x,y\n1,2\n"),
    "the start of a zip": _with("a.npz", b"PK\x03\x04"),
    "an empty zip": _with("a.npz", b"PK\5\6" + bytes(18)),
    "a pickle": _with("a.npz", b"\x80\x04cos\nsystem\n(S'true'\ntR."),
    "one array": _with("a.npz", array(np.eye(3))),
    "one array of objects": _with("a.npz", b"\x93NUMPY\x01\x00" + array(np.array([None]))[8:]),
    "a folder": _folder,
    "a link to nothing": _dangling("npz", "npz"),
    "a pipe": _pipe("npz", "npz"),
    "a name that is too long": lambda folder: f"npz:{folder}/{'a' * 300}.npz",
    "a wrong checksum": flipped,
    "broken compression": deflated,
    "encrypted": locked,
    "an unknown method": method,
    "a bomb": bomb,
    "members that are no arrays": npz_of(b"hello"),
    "members of no byte": npz_of(b""),
    "an absurd shape": npz_of(stated((3, 2**60))),
    "a shape beyond integers": npz_of(stated((3, 2**90))),
    "a shape of the memory": npz_of(stated((3, 2**45))),
    "a negative shape": npz_of(stated((3, -8))),
    "a shape of words": npz_of(stated("many")),
    "a shape of fractions": npz_of(stated((3, 1.5))),
    "an unknown type": npz_of(stated((3,), "<q9")),
    "a type of objects": npz_of(stated((3,), "|O")),
    "a header of no mapping": npz_of(header("[1, 2]")),
    "a header of another mapping": npz_of(header("{'descr': '<f8'}")),
    "a header that is no Python": npz_of(header("{'descr': (((")),
    "a header that is deep": npz_of(header("(" * 20_000)),
    "a header that calls": npz_of(header("__import__('os').system('true')")),
    "a header of zero bytes": npz_of(header("\0" * 40)),
    "a version of the future": npz_of(b"\x93NUMPY\x09\x00" + bytes(40)),
    "fewer values than stated": npz_of(stated((3, 100))),
    "strings for numbers": saved_arrays(x=np.array([["a", "b"]] * 3), y=Y),
    "bytes for texts": saved_arrays(x=np.array([b"a", b"\xff", b"c"]), y=Y),
    "objects": saved_arrays(x=np.array([1, None, "a"], dtype=object), y=Y),
    "records": saved_arrays(x=np.zeros(3, [("a", "f4"), ("b", "i4")]), y=Y),
    "dates": saved_arrays(x=np.zeros(3, "M8[s]"), y=Y),
    "labels of bytes": saved_arrays(x=np.eye(3), y=np.array([b"a", b"\xff\xfe", b"c"])),
    "labels of objects": saved_arrays(x=np.eye(3), y=np.array([1, None, "a"], dtype=object)),
    "labels of records": saved_arrays(x=np.eye(3), y=np.zeros(3, [("a", "f4")])),
    "labels of dates": saved_arrays(x=np.eye(3), y=np.zeros(3, "M8[s]")),
    "labels that are not there": saved_arrays(x=np.eye(3)),
    "labels of another length": saved_arrays(x=np.eye(3), y=np.arange(4)),
    "no samples": saved_arrays(x=np.zeros((0, 3)), y=np.zeros(0, int)),
    "a single number": saved_arrays(x=np.array(1.0), y=np.array(1)),
    "unsigned labels beyond all classes": saved_arrays(x=np.eye(3), y=np.full(3, 2**64 - 1, np.uint64)),
}


def _table(ending: str, content: bytes, options: str = "") -> Writer:
    def write(folder: Path) -> str:
        (folder / f"t.{ending}").write_bytes(content)
        return f"{ending}:{folder}/t.{ending}{options}"

    return write


def parquet(change: Callable[[bytes], bytes]) -> Writer:
    def write(folder: Path) -> str:
        whole = folder / "whole.parquet"
        datasets.Dataset.from_dict({"text": ["a b"] * 50, "label": [0, 1] * 25}).to_parquet(whole)
        (folder / "t.parquet").write_bytes(change(whole.read_bytes()))
        whole.unlink()
        return f"parquet:{folder}/t.parquet"

    return write


def parquet_with(metadata: bytes, **columns: Any) -> Writer:
    """A table whose remarks for the library are these."""

    def write(folder: Path) -> str:
        table = pa.table(columns or {"text": ["a"] * 4, "label": [0, 1] * 2})
        pq.write_table(table.replace_schema_metadata({b"huggingface": metadata}), folder / "t.parquet")
        return f"parquet:{folder}/t.parquet"

    return write


def parquet_of_images(content: bytes | None, path: str | None = None) -> Writer:
    features = {"image": {"_type": "Image"}, "label": {"dtype": "int64", "_type": "Value"}}
    said = json.dumps({"info": {"features": features}}).encode()
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    images = pa.array([{"bytes": content, "path": path}] * 3, kind)
    return parquet_with(said, image=images, label=[0, 1, 0])


def _files(**contents: str | bytes) -> Writer:
    """A folder with these files; a dash in a name stands for a dot."""

    def write(folder: Path) -> str:
        root = folder / "set"
        for name, content in contents.items():
            path = root / name.replace("__", "/").replace("_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return f"hf:{root}"

    return write


def on_disk(change: Callable[[Path], object]) -> Writer:
    """What `save_to_disk` writes, changed."""

    def write(folder: Path) -> str:
        root = folder / "set"
        datasets.Dataset.from_dict({"text": ["a b"] * 50, "label": [0, 1] * 25}).save_to_disk(root)
        change(root)
        return f"hf:{root}"

    return write


def _cut(name: str, size: int) -> Callable[[Path], object]:
    return lambda root: (root / name).write_bytes((root / name).read_bytes()[:size])


def _beyond(root: Path) -> object:
    """State that a text lies where the file has ended."""
    file = root / "data-00000-of-00001.arrow"
    content, starts = file.read_bytes(), struct.pack("<4i", 0, 3, 6, 9)
    assert starts in content
    return file.write_bytes(content.replace(starts, struct.pack("<4i", 0, 3, 2**30, 2**30)))


def _state(**changes: object) -> Callable[[Path], object]:
    def change(root: Path) -> object:
        said = json.loads((root / "state.json").read_text())
        return (root / "state.json").write_text(json.dumps(said | changes))

    return change


def _dict(content: str) -> Writer:
    """What names the splits of a data set on disk."""

    def write(folder: Path) -> str:
        (folder / "set").mkdir()
        (folder / "set" / "dataset_dict.json").write_text(content)
        return f"hf:{folder / 'set'}"

    return write


CSV = b"text,label\n" + b"".join(b"word %d,%d\n" % (row, row % 2) for row in range(40))
JSON = "\n".join(json.dumps({"text": f"word {row}", "label": row % 2}) for row in range(9))
TABLES: dict[str, Writer] = {
    "csv of no byte": _table("csv", b""),
    "csv of a header alone": _table("csv", b"text,label\n"),
    "csv of blank lines": _table("csv", b"\n\n\n\n"),
    "csv of utf-16": _table("csv", CSV.decode().encode("utf-16")),
    "csv of latin-1": _table("csv", CSV + "h\u00e9las,1\n".encode("latin-1")),
    "csv of zero bytes": _table("csv", b"\0" * 400),
    "csv with zero bytes": _table("csv", CSV + b"a\0b,\0\n" * 9, "?columns=text"),
    "csv of random bytes": _table("csv", bytes(np.random.default_rng(0).integers(0, 256, 4000, dtype=np.uint8))),
    "csv of ragged rows": _table("csv", CSV + b"a,1,2,3\n"),
    "csv of a quote without an end": _table("csv", CSV + b'"no end,1\n' + CSV),
    "csv of types that change": _table("csv", b"text,label\n" + b"a,1\n" * 200_000 + b"a,b\n", "?task=regression"),
    "csv of columns of one name": _table("csv", b"text,text,label\na,b,1\n", "?text=text,label"),
    "csv that is a zip": _table("csv", b"PK\x03\x04" + bytes(200)),
    "csv that is gzip cut short": _table("csv", gzip.compress(CSV * 20)[:-20]),
    "csv that is a png": _table("csv", png()),
    "csv that is a link to nothing": _dangling("csv", "csv"),
    "csv that is a pipe": _pipe("csv", "csv"),
    "csv that is a folder": lambda folder: f"csv:{folder}",
    "csv of a field that never ends": _table("csv", b"text,label\n" + b'"' + b"a" * 300_000),
    "parquet of no byte": _table("parquet", b""),
    "parquet of words": _table("parquet", CSV),
    "parquet cut short": parquet(lambda content: content[:-40]),
    "parquet without its start": parquet(lambda content: content[40:]),
    "parquet of a wrong footer": parquet(lambda content: content[:-8] + struct.pack("<I", 2**31 - 1) + b"PAR1"),
    "parquet of wrong pages": parquet(lambda content: content[:4] + b"\xff" * 80 + content[84:]),
    "parquet of broken features": parquet_with(b"{not json"),
    "parquet of unknown features": parquet_with(
        json.dumps({"info": {"features": {"text": {"_type": "Bomb"}, "label": {"_type": "Value"}}}}).encode()
    ),
    "parquet of pictures that are none": parquet_of_images(b"no picture"),
    "parquet of pictures of no byte": parquet_of_images(b""),
    "parquet of pictures cut short": parquet_of_images(png(60, 60)[:70]),
    "parquet of picture bombs": parquet_of_images(png_of_size(60_000, 60_000)),
    "parquet of pictures elsewhere": parquet_of_images(None, "/nowhere/a.png"),
    "parquet of pictures that are not there": parquet_of_images(None, None),
    "parquet of postscript": parquet_of_images(POSTSCRIPT),
    "a folder of nothing": lambda folder: f"hf:{folder}",
    "a folder of notes": _files(notes_md="hello"),
    "json that is cut": _files(train_json=JSON[:-9]),
    "json of no byte": _files(train_json=""),
    "json of numbers": _files(train_json="[1, 2, 3]"),
    "json that is deep": _files(train_json="[" * 100_000),
    "json of rows that differ": _files(train_jsonl=JSON + '\n{"text": {"a": 1}, "label": []}\n'),
    "json of utf-16": _files(train_json=JSON.encode("utf-16")),
    "a script": _files(set_py="import pathlib\npathlib.Path('marker').touch()\nraise RuntimeError\n"),
    "a script beside data": _files(set_py="raise RuntimeError", train_jsonl=JSON[:-9]),
    "a card that is no yaml": _files(README_md="---\nconfigs: [\n---\n", train_jsonl=JSON),
    "a card of other files": _files(
        README_md="---\nconfigs:\n- config_name: a\n  data_files: gone.csv\n---\n", train_jsonl=JSON
    ),
    "a card of odd configurations": _files(README_md="---\nconfigs: 3\n---\n", train_jsonl=JSON),
    "a card of odd splits": _files(
        README_md="---\nconfigs:\n- config_name: a\n  data_files:\n  - split: 7\n    path: 8\n---\n", train_jsonl=JSON
    ),
    "a card of odd features": _files(
        README_md="---\ndataset_info:\n  features:\n  - name: text\n    dtype: bomb\n---\n", train_jsonl=JSON
    ),
    "pickles": _files(train_pkl=b"\x80\x04cos\nsystem\n(S'true'\ntR."),
    "archives cut short": _files(train_zip=b"PK\x03\x04" + bytes(80)),
    "arrow cut short": on_disk(_cut("data-00000-of-00001.arrow", 700)),
    "arrow of no byte": on_disk(_cut("data-00000-of-00001.arrow", 0)),
    "arrow of values beyond its end": on_disk(_beyond),
    "arrow that is gone": on_disk(lambda root: (root / "data-00000-of-00001.arrow").unlink()),
    "arrow without its description": on_disk(lambda root: (root / "dataset_info.json").unlink()),
    "a description cut short": on_disk(_cut("dataset_info.json", 60)),
    "a state cut short": on_disk(_cut("state.json", 30)),
    "a state that is a list": on_disk(lambda root: (root / "state.json").write_text("[]")),
    "a state of no files": on_disk(_state(_data_files=[])),
    "a state of odd files": on_disk(_state(_data_files=[{"name": 7}])),
    "a state of an odd format": on_disk(_state(_format_type="bomb")),
    "a state of an odd form": on_disk(_state(_format_kwargs=7)),
    "splits that are gone": _dict('{"splits": ["train"]}'),
    "splits that are no names": _dict('{"splits": 7}'),
    "splits cut short": _dict('{"splits": ["tr'),
}


def classes(change: Callable[[Path], object]) -> Writer:
    """A folder of two classes of pictures, changed."""

    def write(folder: Path) -> str:
        root = write_images(folder / "photos", {"a": 2, "b": 2})
        change(root)
        return f"imagefolder:{root}"

    return write


FOLDERS: dict[str, Writer] = {
    "nothing": lambda folder: f"imagefolder:{folder}",
    "a file": lambda folder: f"imagefolder:{write_npz(folder / 'a.npz')}",
    "no such folder": lambda folder: f"imagefolder:{folder}/nowhere",
    "a name that is too long": lambda folder: f"imagefolder:{folder}/{'a' * 300}",
    "pictures without classes": lambda folder: f"imagefolder:{write_images(folder, {'a': 2}) / 'a'}",
    "a link to no picture": classes(lambda root: (root / "a" / "9.png").symlink_to(root / "gone.png")),
    "a link to itself": classes(lambda root: (root / "a" / "9.png").symlink_to(root / "a" / "9.png")),
    "links in a circle": classes(lambda root: (root / "a" / "above").symlink_to(root / "a")),
}
