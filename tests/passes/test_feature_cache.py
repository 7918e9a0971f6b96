"""The feature cache returns what was put, and leaves nothing behind."""

from __future__ import annotations

import copy
import tempfile

import pytest
import torch

from layerwise.passes.feature_cache import FeatureCache

WHERE = ["memory", "disk"]
DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.bool]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def drawn(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return (10 * torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))).to(dtype)


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_what_was_put_is_given_back_in_order_with_its_type(where, dtype):
    batches = [drawn(size, 5, dtype=dtype) for size in (7, 7, 2)]
    labels = torch.arange(7)
    with FeatureCache(where) as cache:
        for batch in batches:
            cache.put("layer", batch)
        cache.put("labels", labels)
        found = list(cache.get("layer"))
        assert [value.dtype for value in found] == [dtype] * 3
        assert all(torch.equal(one, other) for one, other in zip(found, batches, strict=True))
        assert torch.equal(next(cache.get("labels")), labels)


@pytest.mark.parametrize("where", WHERE)
def test_many_keys_put_in_turn_are_kept_apart(where):
    keys = [f"blocks.{number}/{'x' * 300}" for number in range(50)]
    with FeatureCache(where) as cache:
        for step in range(3):
            for number, key in enumerate(keys):
                cache.put(key, torch.full((2, 3), float(100 * step + number)))
        for number, key in enumerate(keys):
            assert [int(value[0, 0]) for value in cache.get(key)] == [number, 100 + number, 200 + number]


@pytest.mark.parametrize("where", WHERE)
def test_a_change_in_place_after_the_put_does_not_reach_the_cache(where):
    values = torch.ones(2, 3)
    with FeatureCache(where) as cache:
        cache.put("layer", values)
        values.zero_()
        assert torch.equal(next(cache.get("layer")), torch.ones(2, 3))


@pytest.mark.parametrize("where", WHERE)
def test_views_with_strides_of_their_own_are_kept(where):
    whole = drawn(4, 6)
    with FeatureCache(where) as cache:
        cache.put("turned", whole.T)
        cache.put("column", whole[:, 2])
        assert torch.equal(next(cache.get("turned")), whole.T)
        assert torch.equal(next(cache.get("column")), whole[:, 2])


@pytest.mark.parametrize("where", WHERE)
def test_a_key_can_be_read_twice_and_added_to_in_between(where):
    with FeatureCache(where) as cache:
        cache.put("layer", torch.zeros(1, 2))
        assert len(list(cache.get("layer"))) == 1
        cache.put("layer", torch.ones(1, 2))
        assert [float(value.sum()) for value in cache.get("layer")] == [0.0, 2.0]


@pytest.mark.parametrize("where", WHERE)
def test_a_key_that_was_never_put_has_no_batches(where):
    with FeatureCache(where) as cache:
        cache.put("labels", torch.arange(3))
        assert list(cache.get("predictions")) == []


def test_a_cache_in_memory_makes_no_folder(folder):
    with FeatureCache("memory") as cache:
        cache.put("layer", torch.ones(2, 2))
        assert list(folder.iterdir()) == []


def test_the_folder_is_gone_afterwards(folder):
    with FeatureCache("disk") as cache:
        cache.put("layer", torch.ones(2, 2))
        assert len([item for item in folder.iterdir() if item.is_dir()]) == 1
    assert list(folder.iterdir()) == []


def test_the_folder_is_gone_after_an_exception_in_the_middle_of_reading(folder):
    def fail_while_reading() -> None:
        with FeatureCache("disk") as cache:
            cache.put("layer", torch.ones(2, 2))
            cache.put("layer", torch.ones(2, 2))
            next(cache.get("layer"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_while_reading()
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("where", WHERE)
def test_a_cache_goes_on_from_what_was_saved_and_cuts_off_the_rest(where, tmp_path):
    batches = [torch.randn(3, 4), torch.randn(2, 4).bfloat16(), torch.randn(5, 4)]
    first = FeatureCache(where, tmp_path)
    first.put("a", batches[0])
    contents = copy.deepcopy(first.save())
    first.put("a", torch.zeros(9, 9))
    first.put("b", torch.zeros(9, 9))
    first.save()
    second = FeatureCache(where, tmp_path)
    second.restore(contents)
    for values in batches[1:]:
        second.put("a", values)
    second.put("b", batches[0])
    for key, expected in (("a", batches), ("b", batches[:1])):
        assert all(torch.equal(one, other) for one, other in zip(second.get(key), expected, strict=True))


@pytest.mark.parametrize("where", WHERE)
def test_what_was_never_saved_is_not_taken_for_features(where, tmp_path):
    FeatureCache(where, tmp_path).put("a", torch.zeros(9, 9))
    cache = FeatureCache(where, tmp_path)
    cache.put("a", torch.ones(2, 2))
    (found,) = cache.get("a")
    assert torch.equal(found, torch.ones(2, 2))
