"""What comes back from a sealed file is what was written, or an error."""

from __future__ import annotations

from pathlib import Path

import pytest
import xxhash

from layerwise.runtime.checksummed_files import Damaged, checksum, is_whole, read_sealed, seal_of, write_sealed

CONTENT = {"identity": {"model": "abc", "sizes": [1, 2.5, None]}, "files": {}}


def test_plain_data_comes_back(tmp_path: Path) -> None:
    write_sealed(tmp_path / "a.json", CONTENT)
    assert read_sealed(tmp_path / "a.json") == CONTENT
    assert [item.name for item in tmp_path.iterdir()] == ["a.json"]


def test_every_flipped_byte_and_every_cut_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_sealed(path, CONTENT)
    whole = path.read_bytes()
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1
        path.write_bytes(changed)
        with pytest.raises(Damaged):
            read_sealed(path)
        path.write_bytes(whole[:place])
        with pytest.raises(Damaged):
            read_sealed(path)
    path.unlink()
    with pytest.raises(Damaged):
        read_sealed(path)


def test_a_seal_is_of_length_and_content(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    path.write_bytes(bytes(range(256)) * 20)
    seal = seal_of(path)
    assert is_whole(tmp_path, seal)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert not is_whole(tmp_path, seal)
    path.unlink()
    assert not is_whole(tmp_path, seal)


def test_a_checksum_can_be_continued(tmp_path: Path) -> None:
    content = bytes(range(256)) * 9000
    (tmp_path / "a").write_bytes(content)
    part = checksum(tmp_path / "a", 1_500_000)
    assert part.hexdigest() == xxhash.xxh3_128_hexdigest(content[:1_500_000])
    part.update(content[1_500_000:])
    assert part.hexdigest() == checksum(tmp_path / "a").hexdigest() == xxhash.xxh3_128_hexdigest(content)
    with pytest.raises(Damaged, match="cut short"):
        checksum(tmp_path / "a", len(content) + 1)
