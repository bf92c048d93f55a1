import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from vitkit.errors import UsageError
from vitkit.evaluation import Gain, Gamma, RandomOcclusion, Suite, bundled_suites
from vitkit.recipe import build

GAIN = {"class_path": "vitkit.evaluation.Gain", "init_args": {"factors": [0.5]}}


def occlusion(**arguments):
    return {"class_path": "vitkit.evaluation.RandomOcclusion", "init_args": {"mode": "painted", "ratios": [0.5]} | arguments}


def write(tmp_path, tree):
    path = tmp_path / "mine.yaml"
    path.write_text(tree if isinstance(tree, str) else yaml.safe_dump(tree))
    return path


def test_the_clean_pass_comes_first_and_every_condition_has_an_id():
    suite = Suite("mine", [RandomOcclusion("painted", [0.1, 0.25]), Gain([0.5, 2.0])])
    ids = ["clean/0", "occlusion.random.painted/0.1", "occlusion.random.painted/0.25", "brightness.gain/0.5", "brightness.gain/2"]
    assert [condition.id(severity) for condition, severity in suite] == ids
    assert len(suite) == len(ids)


def test_a_suite_is_made_again_from_its_config(tmp_path):
    suite = Suite(
        "mine", [RandomOcclusion("removed", [0.5]), RandomOcclusion("painted", [0.5], fill=0.25, grid=[3, 3]), Gamma([2.0])]
    )
    again = Suite.from_yaml(write(tmp_path, suite.config()))
    assert again.config() == suite.config()
    assert [condition.id(0.5) for condition in map(build, suite.config()["conditions"])] == [c.id(0.5) for c in suite.conditions]


def test_the_bundled_suites_are_found_by_name():
    assert bundled_suites()["quick"].parts[-3:] == ("configs", "suites", "quick.yaml")
    quick = Suite.load("quick")
    assert quick.config() == Suite.load(bundled_suites()["quick"]).config()
    assert {condition.name for condition in quick.conditions} == {"random.painted", "random.removed", "gain", "shift", "gamma"}
    for condition in quick.conditions:
        assert condition.identity not in condition.severities, "the clean pass is there already"
        if condition.suite == "brightness":
            assert min(condition.severities) < condition.identity < max(condition.severities)
    with pytest.raises(UsageError, match=r"suite 'quack'; expected a \.yaml file, or one of .*quick"):
        Suite.load("quack")


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ("- 1", "the file: .* expected a mapping with conditions, include, name, profiles, threshold"),
        ("name: [", "is no YAML"),
        ("name: !!python/object:os.system {}", "is no YAML"),
        ({"name": "a"}, "the file: no conditions"),
        ({"name": "a", "conditions": [], "severity": 1}, "the file: unknown key severity; expected keys among .*include, name"),
        ({"name": "a", "conditions": []}, "conditions: suite 'a' has none"),
        ({"name": "a b", "conditions": [GAIN]}, "name 'a b'; expected letters"),
        ({"name": "a", "conditions": GAIN}, "conditions: .* expected a list"),
        ({"name": "a", "conditions": [GAIN], "threshold": 80.0}, r"threshold: 80\.0; expected an accuracy between 0 and 1"),
        ({"name": "a", "conditions": ["gain"]}, r"conditions\[0\]: 'gain'; expected a mapping"),
        ({"name": "a", "conditions": [{"class_path": "vitkit.evaluation.Blur"}]}, r"conditions\[0\]\.class_path: vitkit\.eval"),
        ({"name": "a", "conditions": [{"class_path": "os.system"}]}, r"class_path: os\.system; expected a class that inherits"),
        ({"name": "a", "conditions": [{"class_path": "vitkit.evaluation.Condition"}]}, "expected a class that inherits"),
        ({"name": "a", "conditions": [{"class_path": "Gain"}]}, "expected a class that inherits"),
        ({"name": "a", "conditions": [{"class_path": "no.such.Thing"}]}, "expected a class that inherits"),
        ({"name": "a", "conditions": [GAIN, {**GAIN, "init_arg": {}}]}, r"conditions\[1\]: unknown key init_arg"),
        ({"name": "a", "conditions": [occlusion(ratio=0.5)]}, r"conditions\[0\]\.init_args: unknown key ratio"),
        ({"name": "a", "conditions": [{"class_path": "vitkit.evaluation.Gain"}]}, r"conditions\[0\]\.init_args: no factors"),
        ({"name": "a", "conditions": [GAIN, GAIN]}, r"conditions\[1\]: brightness\.gain/0\.5 for the second time"),
        ({"name": "a", "conditions": [occlusion(ratios=[])]}, r"init_args\.ratios: \[\]; expected a list with at least"),
        ({"name": "a", "conditions": [occlusion(ratios=[0.5, 1.0])]}, r"\[0\]\.init_args\.ratios\[1\]: 1\.0; expected a share"),
        ({"name": "a", "conditions": [occlusion(ratios=[-0.1])]}, r"ratios\[0\]: -0\.1"),
        ({"name": "a", "conditions": [occlusion(ratios=[0.5, 0.5])]}, r"ratios\[1\]: 0\.5 for the second time"),
        ({"name": "a", "conditions": [occlusion(ratios=[float("nan")])]}, r"ratios\[0\]: nan; expected a finite number"),
        ({"name": "a", "conditions": [occlusion(fill=1.5)]}, r"init_args\.fill 1\.5"),
        ({"name": "a", "conditions": [occlusion(name="a/b")]}, "name 'a/b'"),
        ({"name": "a", "conditions": [occlusion(mode="removed", fill="zero")]}, "mode: removed with a grid or a fill"),
        ({"name": "a", "conditions": [{**GAIN, "init_args": {"factors": [0.0]}}]}, r"init_args\.factors\[0\]: a gain of 0\.0"),
        (
            {"name": "a", "conditions": [{"class_path": "vitkit.evaluation.Gamma", "init_args": {"exponents": [1.0, -1.0]}}]},
            r"init_args\.exponents\[1\]: a gamma of -1\.0; expected a positive number",
        ),
        (
            {"name": "a", "conditions": [{"class_path": "vitkit.evaluation.Shift", "init_args": {"amounts": [2.0]}}]},
            r"init_args\.amounts\[0\]: a shift of 2\.0",
        ),
    ],
)  # fmt: skip
def test_a_mistake_in_the_file_is_told_with_file_and_key(tmp_path, tree, message):
    path = write(tmp_path, tree)
    with pytest.raises(UsageError, match=message) as caught:
        Suite.from_yaml(path)
    assert str(caught.value).startswith(str(path))


def test_a_suite_can_include_others(tmp_path):
    (tmp_path / "inner").mkdir()
    write(tmp_path / "inner", {"name": "inner", "conditions": [GAIN]})
    inner = next((tmp_path / "inner").iterdir())
    path = write(tmp_path, {"name": "outer", "include": [f"inner/{inner.name}"], "conditions": [GAIN]})
    with pytest.raises(UsageError, match="for the second time"):
        Suite.from_yaml(path)
    path = write(tmp_path, {"name": "outer", "include": ["occlusion", f"inner/{inner.name}"]})
    expected = [condition.id(severity) for condition, severity in Suite.load("occlusion")] + ["brightness.gain/0.5"]
    assert [condition.id(severity) for condition, severity in Suite.from_yaml(path)] == expected
    assert Suite.load("full").profiles


@pytest.mark.parametrize("name", ["nowhere", "mine.yaml", 3])
def test_what_cannot_be_included_is_told(tmp_path, name):
    path = write(tmp_path, {"name": "outer", "include": [name], "conditions": [GAIN]})
    assert path.name == "mine.yaml"  # which cannot include itself
    with pytest.raises(UsageError, match=rf"include\[0\]: {name}"):
        Suite.from_yaml(path)


def test_wrong_types_are_told_too(tmp_path):
    """In a process of its own, where the checker of the tests does not get there first."""
    cases = {
        "ratios: '0.5'": "'0.5'; expected a list",
        "ratios: [half]": "ratios[0]: 'half'; expected a finite number",
        "ratios: [true]": "ratios[0]: True; expected a finite number",
        "ratios: 0.5": "0.5; expected a list",
        "mode: both, ratios: [0.5]": "mode: 'both'; expected painted or removed",
        "fill: blue, ratios: [0.5]": "fill 'blue'",
        "fill: [1], ratios: [0.5]": "fill [1]",
        "grid: [0, 4], ratios: [0.5]": "grid: [0, 4]; expected a list of whole numbers from 1",
        "grid: four, ratios: [0.5]": "grid: 'four'; expected a list of whole numbers",
        "grid: 4.5, ratios: [0.5]": "grid: 4.5; expected a list of whole numbers",
    }
    for index, arguments in enumerate(cases):
        start = "name: a\nconditions:\n- class_path: vitkit.evaluation.RandomOcclusion\n  init_args: {mode: painted, "
        text = f"{start}{arguments}}}\n"
        (tmp_path / f"{index}.yaml").write_text(text.replace("mode: painted, mode", "mode"))
    code = """
import json, sys
from vitkit.errors import UsageError
from vitkit.evaluation import Suite
told = []
for path in sys.argv[1:]:
    try:
        Suite.from_yaml(path)
    except UsageError as error:
        told.append(str(error))
print(json.dumps(told))
"""
    paths = [str(tmp_path / f"{index}.yaml") for index in range(len(cases))]
    told = json.loads(subprocess.run([sys.executable, "-c", code, *paths], check=True, capture_output=True).stdout)
    for message, expected in zip(told, cases.values(), strict=True):
        assert expected in message


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(UsageError, match=r"no file .*; expected a suite in YAML.* quick"):
        Suite.from_yaml(tmp_path / "none.yaml")


def test_names_and_results_are_known_without_torch():
    code = (
        "import sys; from vitkit.evaluation import bundled_suites, load_results; bundled_suites(); "
        "print([name for name in ('torch', 'pyarrow', 'numpy') if name in sys.modules])"
    )
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=root).stdout == b"[]\n"


def test_an_unknown_name_is_no_attribute():
    import vitkit.evaluation

    assert all(hasattr(vitkit.evaluation, name) for name in vitkit.evaluation.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        vitkit.evaluation.nothing  # noqa: B018
