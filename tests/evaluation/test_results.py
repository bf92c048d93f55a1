import csv
import dataclasses
import json

import pytest

from vitkit.errors import DataError, UsageError
from vitkit.evaluation import load_results


def test_what_was_saved_is_what_is_loaded(results, tmp_path):
    path = results.save(tmp_path)
    assert load_results(path) == results == load_results(tmp_path)
    tree = json.loads(path.read_text())
    assert tree.pop("checksum").startswith("sha256:")
    assert tree == dataclasses.asdict(results)
    assert not list(tmp_path.glob(".*")), "a temporary file was left"


def test_the_table_is_tidy(results, tmp_path):
    results.save(tmp_path)
    rows = list(csv.DictReader((tmp_path / "results.csv").read_text().splitlines()))
    assert list(rows[0]) == ["suite", "condition", "severity", "metric", "value", "ci_low", "ci_high", "n"]
    assert len({(row["suite"], row["condition"], row["severity"], row["metric"]) for row in rows}) == len(rows) == 2 * 2 + 2
    assert rows[0] == {
        "suite": "clean", "condition": "clean", "severity": "0.0", "metric": "accuracy",
        "value": "0.9", "ci_low": "0.8", "ci_high": "1.0", "n": "20",
    }  # fmt: skip
    assert [(row["metric"], row["severity"], row["ci_high"]) for row in rows[-2:]] == [
        ("auc", "", "0.9"),
        ("threshold_severity", "", ""),
    ]


def test_a_curve_finds_its_conditions(results):
    curve = results.curve("occlusion", "random.painted")
    assert [point.id for point in results.at(curve)] == ["clean/0", "occlusion.random.painted/0.5"]
    with pytest.raises(UsageError, match=r"curve occlusion.other; expected one of occlusion\.random\.painted"):
        results.curve("occlusion", "other")
    with pytest.raises(UsageError, match="condition 'x/1'; expected one of clean/0"):
        results.condition("x/1")


def break_file(path, change):
    tree = json.loads(path.read_text())
    change(tree)
    path.write_text(json.dumps(tree))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tree: tree.update(schema_version=99), "schema_version 99; expected 1"),
        (lambda tree: tree["conditions"][1].pop("n"), r"conditions\[1\]: missing or unknown n"),
        (lambda tree: tree["data"].update(size=3), "data: missing or unknown size"),
        (lambda tree: tree["curves"][0]["auc"].update(value="high"), "value is 'high'; expected float"),
        (lambda tree: tree.update(seed=True), "seed is True; expected int"),
        (lambda tree: tree.update(curves={}), r"curves is \{\}; expected list"),
    ],
)
def test_a_file_that_is_no_result_is_refused(results, tmp_path, change, message):
    path = results.save(tmp_path)
    break_file(path, change)
    with pytest.raises(DataError, match=message):
        load_results(path)


def test_an_edited_file_is_refused_and_one_without_a_checksum_taken(results, tmp_path):
    path = results.save(tmp_path)
    break_file(path, lambda tree: tree["curves"][0]["auc"].update(value=0.99))
    with pytest.raises(DataError, match=r"is not what was written .* `vitkit report .*` makes it again from the samples"):
        load_results(path)
    results.save(tmp_path)
    break_file(path, lambda tree: tree.pop("checksum"))
    assert load_results(path) == results


def test_a_missing_and_a_broken_file_are_told_apart(tmp_path):
    with pytest.raises(UsageError, match="no file"):
        load_results(tmp_path)
    (tmp_path / "results.json").write_bytes(b'{"schema_version": \xff')
    with pytest.raises(DataError, match="no JSON"):
        load_results(tmp_path)


def test_nothing_is_half_written(results, tmp_path):
    path = results.save(tmp_path)
    before = path.read_bytes()
    broken = dataclasses.replace(results, preprocess={"crop": float("nan")})
    with pytest.raises(ValueError, match="not JSON compliant"):
        broken.save(tmp_path)
    assert path.read_bytes() == before
    assert sorted(item.name for item in tmp_path.iterdir()) == ["results.csv", "results.json"]
