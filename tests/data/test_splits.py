"""Who validates."""

from __future__ import annotations

from retina_monai.data.listing.splits import last_tenth, merge


def test_the_last_tenth_sorted_as_text_validates_and_nobody_of_one() -> None:
    assert last_tenth(f"A/{number}" for number in range(20)) == {"A/8", "A/9"}
    assert last_tenth(["A/1", "A/1"]) == set()


def test_those_with_a_vessel_map_validate_where_there_are_any() -> None:
    items = [{"patient": f"A/{number}", **({"vessel": "map"} if number < 5 else {})} for number in range(10)]
    merged = merge([{"training": items, "test": []}])
    assert [item["patient"] for item in merged["validation"]] == ["A/4"]
    without = merge([{"training": items[5:], "test": []}])
    assert [item["patient"] for item in without["validation"]] == ["A/9"]
