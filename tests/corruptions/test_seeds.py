from vitkit.corruptions import generator_for, seed_for

FROZEN = (5272656299082260595, 9461678156045135683, [7, 4, 6, 1, 5, 3, 0, 2])


def test_every_part_counts():
    base = ("occlusion", "random", 0.5, "a.png", 0)
    others = [("x", *base[1:]), ("occlusion", "x", *base[2:]), (*base[:2], 0.6, *base[3:]), (*base[:2], None, *base[3:])]
    others += [(*base[:3], "b.png", 0), (*base[:4], 1), ("occlusionr", "andom", *base[2:])]
    seeds = {seed_for(*parts) for parts in [base, *others]}
    assert len(seeds) == 1 + len(others)
    assert all(0 <= seed < 2**64 for seed in seeds)


def test_seeds_are_the_same_on_every_machine():
    """Frozen values: a change of theirs changes every published result."""
    assert seed_for("occlusion", "random", None, "test/7.png") == FROZEN[0]
    assert seed_for("occlusion", "random", 0.5, "ä", 3) == FROZEN[1]
    assert generator_for(FROZEN[0]).bit_generator.random_raw(8).argsort().tolist() == FROZEN[2]


def test_the_whole_range_of_seeds_is_used():
    draws = {generator_for(seed).random() for seed in (0, 2**63 - 1, 2**63, 2**64 - 1)}
    assert len(draws) == 4
