"""The catalogue shows every indicator with what it publishes, and the page in docs is current."""

from pathlib import Path

from fxgpt_core.features.catalogue import catalogue, markdown
from fxgpt_core.features.registry import indicators
from fxgpt_core.features.spec import FeatureSpec

PAGE = Path(__file__).parents[2] / "docs" / "features.md"


def test_every_indicator_is_described_with_formula_source_and_columns() -> None:
    entries = catalogue()
    assert {entry.name for entry in entries} == set(indicators())
    for entry in entries:
        assert entry.columns, entry.name
        assert entry.formula.endswith("."), f"{entry.name} needs a sentence that says what its columns are"
        assert entry.source
        assert all("_<tf>" in name for name in entry.columns), entry.columns


def test_the_page_in_docs_is_what_the_declarations_say() -> None:
    assert PAGE.read_text() == markdown(catalogue()), "run: fxgpt features --markdown > docs/features.md"


def test_a_configuration_shows_its_choice_with_its_parameters() -> None:
    spec = FeatureSpec(groups=(), indicators={"rsi": "all"}, parameters={"rsi": {"period": 21}})
    (entry,) = catalogue(spec)
    assert entry.columns == ("rsi_<tf>_21",)
    assert entry.parameters == {"period": "21 [2, 288]"}
