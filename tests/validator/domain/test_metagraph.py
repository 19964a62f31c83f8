from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from validator.domain.metagraph import Miner, changes, in_chunks

miners = st.sets(
    st.builds(
        Miner,
        uid=st.integers(0, 3),
        hotkey=st.sampled_from("abc"),
        ip=st.just("127.0.0.1"),
        port=st.sampled_from([8091, 8092]),
    )
)


@given(miners, miners)
def test_changes_lead_from_the_remembered_to_the_registered(
    before: set[Miner], after: set[Miner]
) -> None:
    found = changes(before, after)

    assert (before - set(found.left)) | set(found.joined) == after
    assert not set(found.left) & set(found.joined)
    for part in (found.left, found.joined):
        assert [miner.uid for miner in part] == sorted(miner.uid for miner in part)


def test_a_miner_that_moved_leaves_as_it_was_and_joins_as_it_is() -> None:
    was, is_ = Miner(3, "a", "127.0.0.1", 8091), Miner(3, "a", "127.0.0.1", 8092)

    found = changes([was], [is_])
    assert (found.left, found.joined) == ((was,), (is_,))


@pytest.mark.parametrize("uid", [-1, 256])
def test_a_uid_beyond_the_subnet_is_refused(uid: int) -> None:
    with pytest.raises(ValueError, match="uid must be within"):
        Miner(uid, "a", "127.0.0.1", 8091)


@given(st.lists(st.integers()), st.integers(1, 5))
def test_chunks_are_everything_in_order_and_none_is_larger_or_empty(
    items: list[int], size: int
) -> None:
    chunks = [*in_chunks(items, size)]

    assert [item for chunk in chunks for item in chunk] == items
    assert all(0 < len(chunk) <= size for chunk in chunks)
    assert all(len(chunk) == size for chunk in chunks[:-1])
