"""The sentences at the top of the page, one for each way that a curve can go."""

from dataclasses import replace

import pytest

from vitkit.evaluation.results import Interval
from vitkit.report.track import tracks
from vitkit.report.words import answers, clean_sentence, meaning


def said(results) -> list[str]:
    """Everything that is answered, with plain spaces."""
    lines = [f"{answer.title}: {' '.join(map(str, answer.sentences))}" for answer in answers(results, tracks(results))]
    return [text.replace("\N{NO-BREAK SPACE}", " ") for text in lines]


def test_falls_below_at_an_area_with_its_interval_and_count(empty, builders):
    line, _ = builders
    made = line(empty, "occlusion", "painted", {0.3: 0.9, 0.6: 0.7}, Interval(0.46, 0.41, 0.52))
    assert said(made) == [
        "Painted: Accuracy falls below 80 % when 46 % of the area is hidden (95 % interval 41 to 52 %; 360 images)."
    ]


def test_interval_that_is_open_at_its_far_end(empty, builders):
    line, _ = builders
    made = line(empty, "occlusion", "painted", {0.3: 0.9, 0.6: 0.79}, Interval(0.57, 0.41, None), share_below=0.7)
    assert "when 57 % of the area is hidden (95 % interval from 41 % to beyond the 60 % tested; 360 images)." in said(made)[0]


def test_interval_that_lies_beyond_what_was_tested(empty, builders):
    line, _ = builders
    made = line(empty, "occlusion", "painted", {0.3: 0.9, 0.6: 0.799}, Interval(0.597, None, None), share_below=0.01)
    assert "(95 % interval beyond the 60 % tested; 360 images)" in said(made)[0]


def test_never_below_says_how_far_it_was_tested_and_how_low_it_came(empty, builders):
    line, _ = builders
    made = line(empty, "occlusion", "painted", {0.3: 0.95, 0.6: 0.91}, share_below=0.0)
    assert said(made) == [
        "Painted: Accuracy stays at 80 % or above in every test, up to where 60 % of the area is hidden; "
        "its lowest is 91.0 % (95 % interval 87.0 to 95.0 %; 360 images)."
    ]


def test_never_below_but_not_surely(empty, builders):
    line, _ = builders
    made = line(empty, "occlusion", "painted", {0.6: 0.82}, Interval(None, 0.5, None), share_below=0.2)
    assert "A fall from where 50 % of the area is hidden on cannot be ruled out" in said(made)[0]
    rarely = line(empty, "occlusion", "painted", {0.6: 0.85}, share_below=0.013)
    assert said(rarely)[0].endswith("It falls below in 1.3 % of the bootstrap resamples.")


def test_below_before_anything_is_changed(empty, builders):
    line, _ = builders
    clean = replace(empty.conditions[0], metrics={"accuracy": Interval(0.712, 0.66, 0.76)})
    made = line(replace(empty, conditions=[clean]), "occlusion", "painted", {0.6: 0.3}, Interval(0.0, 0.0, 0.0))
    assert said(made) == ["Painted: Its lowest accuracy is 30.0 % (95 % interval 26.0 to 34.0 %; 360 images)."]
    told = clean_sentence(made).replace("\N{NO-BREAK SPACE}", " ")
    assert told == (
        "On the untouched images accuracy is 71.2 % (95 % interval 66.0 to 76.0 %), below 80 % before anything is changed."
    )


def test_both_sides_of_brightness(results):
    (gain,) = [text for text in said(results) if text.startswith("Gain")]
    assert gain == (
        "Gain: Darker: accuracy falls below 80 % when intensity is multiplied by 0.7 (95 % interval 0.6 to 0.8; 360 images). "
        "Brighter: accuracy stays at 80 % or above in every test, up to where intensity is multiplied by 2; "
        "its lowest is 90.0 % (95 % interval 86.0 to 94.0 %)."
    )


@pytest.mark.parametrize(
    ("unit", "words"),
    [
        ("factor", "intensity is multiplied by 0.5"),
        ("exponent", "intensity is raised to the power of 0.5"),
        ("fraction of full intensity", "+0.5 of full intensity is added"),
        ("share of patches", "50 % of the patches are hidden"),
        ("furlongs", "the severity is 0.5 (furlongs)"),
        ("", "the severity is 0.5"),
    ],
)
def test_every_unit_has_its_words(empty, builders, unit, words):
    line, _ = builders
    made = line(empty, "any", "thing", {1.0: 0.3}, Interval(0.5, 0.4, 0.6), unit=unit)
    assert f"when {words} (95 % interval" in said(made)[0]


def test_negative_severities_of_a_curve_with_one_side(empty, builders):
    line, _ = builders
    unit = "fraction of full intensity"
    made = line(empty, "brightness", "shift", {-0.5: 0.3}, Interval(-0.2, None, -0.1), unit=unit)
    (text,) = said(made)
    assert "when −0.2 of full intensity is added (95 % interval from −0.1 to beyond the −0.5 tested; 360 images)." in text


def test_area_in_fact_stands_in_place_of_the_share_of_patches(empty, builders):
    line, _ = builders
    areas = {0.3: 0.25, 0.6: 0.5}
    found = Interval(0.45, 0.3, 0.6)
    made = line(empty, "occlusion", "painted", {0.3: 0.9, 0.6: 0.7}, found, unit="share of patches", areas=areas)
    assert "when 38 % of the area is hidden (95 % interval 25 to 50 %; 360 images)" in said(made)[0]


def test_two_conditions_of_one_title_are_told_apart(empty, builders):
    line, _ = builders
    made = line(line(empty, "occlusion", "zero", {0.5: 0.9}, title="Same"), "occlusion", "mean", {0.5: 0.9}, title="Same")
    assert [answer.title for answer in answers(made, tracks(made))] == ["Same (zero)", "Same (mean)"]


def test_skipped_conditions_give_their_reason(results):
    assert "Gamma: Not measured: the model takes no gamma" in said(results)


def test_volumes_are_not_called_images_and_have_no_area(empty, builders):
    line, _ = builders
    made = line(replace(empty, preprocess={"size": [8, 8, 8]}), "occlusion", "painted", {0.5: 0.7}, areas={0.5: 0.5})
    assert "50 % of the volume is hidden; its lowest is 70.0 %" in said(made)[0]
    assert "360 volumes" in said(made)[0]
    assert "untouched volumes" in clean_sentence(made)
    # Without a preprocess the grid of what was hidden tells.
    bare = replace(made, preprocess=None)
    assert "360 images" in said(bare)[0]
    grids = [replace(condition, params=condition.params | {"grid": [4, 4, 4]}) for condition in bare.conditions]
    assert "360 volumes" in said(replace(bare, conditions=grids))[0]


def test_a_severity_of_a_corruption_is_said_once(empty, builders):
    line, _ = builders
    made = line(empty, "corruptions", "fog", {1.0: 0.9, 5.0: 0.7}, Interval(3.0, 2.0, 4.0), unit="severity")
    assert said(made) == ["Fog: Accuracy falls below 80 % when the severity is 3 (95 % interval 2 to 4; 360 images)."]


@pytest.mark.parametrize(
    ("area", "words"),
    [
        (
            Interval(0.1, 0.06, 0.14),
            "10.0 points higher when patches are removed than when they are painted (95 % interval +6.0 to",
        ),
        (Interval(0.1, 0.06, 0.14), "the paint itself misleads the model"),
        (Interval(0.02, -0.01, 0.05), "cannot be told from"),
        (Interval(-0.1, -0.14, -0.06), "10.0 points lower"),
        (Interval(-0.1, -0.14, -0.06), "bears paint better than missing tokens"),
        (Interval(None), "could not be measured"),
    ],
)
def test_missingness_bias_is_given_a_meaning(results, area, words):
    text = meaning(replace(results.comparisons[0], auc=area)).replace("\N{NO-BREAK SPACE}", " ")
    assert words in text


def test_a_comparison_of_other_things_is_given_no_meaning_that_it_lacks(results):
    other = replace(results.comparisons[0], minuend="a", subtrahend="b")
    text = meaning(other).replace("\N{NO-BREAK SPACE}", " ")
    assert text == (
        "On average over the tested range, accuracy is 10.0 points higher under a than under b "
        "(95 % interval +6.0 to +14.0 points)."
    )


def test_clean_accuracy(empty):
    assert clean_sentence(empty).replace("\N{NO-BREAK SPACE}", " ") == (
        "On the untouched images accuracy is 97.2 % (95 % interval 93.2 to 100.0 %)."
    )
    assert clean_sentence(replace(empty, conditions=[])) == ""
