"""Counters of a run: what a method selects. The cost counter is tested with networks, in tests/unit/models."""

from __future__ import annotations

import torch

from fer_bench.engine.counters import SelectionCounter


def test_selection_is_summed_as_if_the_kept_samples_were_picked_out() -> None:
    generator = torch.Generator().manual_seed(1)
    noisy_label = torch.randint(0, 4, (50,), generator=generator)
    clean = torch.rand(50, generator=generator) < 0.6
    counter = SelectionCounter(noisy_label, torch.where(clean, noisy_label, (noisy_label + 1) % 4), 4)
    index, kept = torch.randperm(50, generator=generator)[:30], torch.rand(30, generator=generator) < 0.5
    for _ in range(2):
        counter.reset()
        assert counter.summary() is None
        counter.record(index[:20], kept[:20])
        counter.record(index[20:], kept[20:])
        chosen = index[kept]
        assert counter.summary() == {
            "kept": len(chosen) / 30,
            "purity": int(clean[chosen].sum()) / len(chosen),
            "clean_kept": int(clean[chosen].sum()) / int(clean[index].sum()),
            "kept_by_class": torch.bincount(noisy_label[chosen], minlength=4).tolist(),
        }


def test_shares_of_nothing_are_missing() -> None:
    counter = SelectionCounter(torch.zeros(3, dtype=torch.int64), torch.ones(3, dtype=torch.int64), 2)
    counter.record(torch.tensor([0, 1]), torch.tensor([False, False]))
    assert counter.summary() == {"kept": 0.0, "purity": None, "clean_kept": None, "kept_by_class": [0, 0]}
