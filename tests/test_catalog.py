"""The catalogue is dated data; what is said above it is laid over it, marked with who said it."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
import yaml

from anytune import catalog, config, listing, planner, providers
from anytune.errors import UsageError
from anytune.offers import Offers
from anytune.providers.base import Checkpoints
from anytune.schema.catalog import Layer, Listing, Offer
from anytune.schema.plan import Plan, Policy
from anytune.testing import sample_file, sample_spec
from anytune.tuner import Tuner
from tests.rigs import report_of

TODAY = date(2026, 11, 27)
FOLDER = Path(catalog.__file__).parent / "catalog"
MINI = "gpt-4.1-mini-2025-04-14"
QWEN = "Qwen/Qwen3.5-9B"


def laid(provider: str, said: object, *, foreign: bool = False) -> catalog.Catalog:
    layers = [(Layer.model_validate(said), foreign)]
    return catalog.laid(catalog.load(provider), listing=None, layers=layers, today=TODAY)


def own_list(provider: str, *names: str, as_of: date = TODAY, whole: bool = True) -> Listing:
    offer = Offer.model_validate({"source": "https://x", "whole": whole, "models": {name: {} for name in names}})
    return Listing(provider=provider, as_of=as_of, offer=offer)


def plan(folder: Path, found: catalog.Catalog, model: str, *, today: date = TODAY, force: bool = False) -> Plan:
    file = sample_file(folder)
    rules = {"training.epochs": planner.Rule(outcome="kept", to="n_epochs")}
    known = catalog.amended(catalog.capabilities(found.provider, model, settings=rules), found)
    spec = sample_spec(file, provider=found.provider, model=model)
    return planner.make(spec, report_of(file), known, policy=Policy(), today=today, force=force)


@pytest.mark.parametrize("name", providers.BUILT_IN)
def test_every_provider_has_a_dated_catalogue_with_its_source(name: str) -> None:
    known = catalog.load(name)
    assert known.provider == name
    assert known.as_of.year >= 2026
    assert known.source
    assert name == "local" or known.settings_source
    assert known.takes_any or known.hosting


@pytest.mark.parametrize("name", providers.BUILT_IN)
def test_every_provider_says_what_is_billed_of_a_cancelled_job_or_that_nobody_says(name: str, tmp_path: Path) -> None:
    billed = catalog.load(name).cancelling
    assert billed is not None
    assert billed.source
    assert billed.as_of
    model = next(iter(catalog.load(name).models), "owner/model")
    assert Tuner(folder=tmp_path, environment={}).reach.capabilities(name, model).cancelling == billed


def test_those_who_closed_have_a_date_a_reason_a_source_and_somewhere_to_go() -> None:
    told = yaml.safe_load((FOLDER / "closed.yaml").read_text(encoding="utf-8"))
    assert {"mistral", "cohere", "predibase", "autotrain"} <= set(told)
    known = providers.names()
    for name, closed in catalog.closed().items():
        assert name not in known
        assert closed.source
        assert set(closed.instead) & set(known)
        answer = catalog.gone(name, known=known)
        assert answer is not None
        assert f"since {closed.since}" in answer.message
        assert "\n" not in answer.message


def test_no_name_stands_for_two_of_them() -> None:
    names = [word for name, closed in catalog.closed().items() for word in (name, *closed.aliases)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", ["mistral", "Mistral", "mistral_ai", "autotrain", "hf-autotrain", "Auto-Trained"])
def test_they_are_known_by_the_names_that_people_type(name: str) -> None:
    assert (catalog.gone(name, known=("local",)) is None) == (name == "Auto-Trained")


def test_only_those_are_named_instead_that_this_version_knows() -> None:
    answer = catalog.gone("mistral", known=("local", "together"))
    assert answer is not None
    assert "go to together or local instead" in answer.message
    assert catalog.gone("mistral", known=("mistral", "local")) is None, "a plug-in of that name is no longer closed"


def test_a_model_of_the_users_own_has_the_price_that_the_settings_say(tmp_path: Path) -> None:
    found = laid("together", {"models": {"my-model": {"methods": ["sft"], "price": {"sft": "1200"}}}})
    made = plan(tmp_path, found, "my-model")
    assert made.ok, made.refused
    assert made.capabilities.methods == ("sft",)
    assert "at $1200 per million (as your settings say), at least $4.00" in made.cost.basis
    assert made.cost.as_of == TODAY
    assert not [warning for warning in made.warnings if "were read on" in warning]


def test_what_the_settings_leave_out_stays_as_shipped(tmp_path: Path) -> None:
    found = laid("openai", {"models": {MINI: {"price": {"dpo": "7"}}}, "max_file_bytes": 10})
    entry = found.models[MINI]
    assert entry.price == {"sft": Decimal("5.00"), "dpo": Decimal(7)}
    assert entry.shutdown == date(2027, 1, 14)
    assert found.models["gpt-4o-2024-08-06"] == catalog.load("openai").models["gpt-4o-2024-08-06"]
    (reason,) = plan(tmp_path, found, MINI).refused
    assert reason.endswith("openai takes at most 10 in a file")


def test_the_shipped_catalogue_is_never_changed() -> None:
    before = catalog.load("together").model_dump()
    laid("together", {"models": {QWEN: {"price": {"sft": "9"}}}, "minimum": "0"})
    assert catalog.load("together").model_dump() == before


@pytest.mark.parametrize(
    ("said", "way", "price", "minimum"),
    [
        ({"models": {QWEN: {"price": {"sft": "0.01"}}}}, "sft", "0.34", "4.00"),
        ({"models": {QWEN: {"price": {"sft-full": "0.01"}}}}, "sft-full", "0.3825", "4.00"),
        ({"models": {QWEN: {"minimum": "0"}}}, "sft", "0.34", "4.00"),
        ({"minimum": "0"}, "sft", "0.34", "4.00"),
        ({"models": {QWEN: {"price": {"sft": "1"}, "minimum": "9"}}}, "sft", "1", "9"),
    ],
)
def test_a_strangers_project_cannot_make_a_known_price_lower(
    tmp_path: Path, said: object, way: str, price: str, minimum: str
) -> None:
    known = plan(tmp_path, laid("together", said, foreign=True), QWEN).capabilities.price
    assert known is not None
    assert (known.per_million[way], known.minimum) == (Decimal(price), Decimal(minimum))


def test_the_user_can_make_a_known_price_lower(tmp_path: Path) -> None:
    found = laid("together", {"models": {QWEN: {"price": {"sft": "0.01"}, "minimum": "0"}}})
    assert plan(tmp_path, found, QWEN).cost.expected == Decimal("0.00")


def test_a_project_says_whose_price_it_is(tmp_path: Path) -> None:
    found = laid("together", {"models": {"theirs": {"price": {"sft": "2"}}}}, foreign=True)
    assert "(as the project's settings say)" in plan(tmp_path, found, "theirs").cost.basis


def test_a_model_that_is_not_in_the_providers_own_list_is_refused_unless_forced(tmp_path: Path) -> None:
    listed = own_list("together", "brand/new")
    found = catalog.laid(catalog.load("together"), listing=listed, layers=[], today=TODAY)
    assert plan(tmp_path, found, QWEN).refused == (f"together's own list of {TODAY} has no model {QWEN!r}",)
    assert plan(tmp_path, found, QWEN, force=True).ok
    new = plan(tmp_path, found, "brand/new")
    assert new.ok
    assert new.cost.expected is None


def test_a_list_that_is_not_whole_or_older_than_the_catalogue_takes_nothing_away(tmp_path: Path) -> None:
    for listed in (own_list("together", "brand/new", whole=False), own_list("together", "x", as_of=date(2026, 1, 1))):
        found = catalog.laid(catalog.load("together"), listing=listed, layers=[], today=TODAY)
        assert plan(tmp_path, found, QWEN).ok


def test_settings_stand_above_the_providers_own_list(tmp_path: Path) -> None:
    layer = Layer.model_validate({"models": {"brand/new": {"price": {"sft": "3"}, "max_length": 99}}})
    listed = own_list("together", "brand/new")
    found = catalog.laid(catalog.load("together"), listing=listed, layers=[(layer, False)], today=TODAY)
    known = plan(tmp_path, found, "brand/new").capabilities
    assert (known.max_length, known.price is not None) == (99, True)


def test_a_list_is_kept_whole_and_read_again(tmp_path: Path) -> None:
    listed = own_list("together", "brand/new")
    assert listing.read(tmp_path, "together") is None
    path = listing.write(tmp_path, listed)
    assert listing.read(tmp_path, "together") == listed
    assert list(path.parent.iterdir()) == [path], "no draft stays behind"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"provider": "together"}', '{"offer": {"models": 3}}'])
def test_a_list_that_cannot_be_read_names_its_file_and_the_way_out(tmp_path: Path, text: str) -> None:
    path = listing.write(tmp_path, own_list("together"))
    path.write_text(text)
    with pytest.raises(UsageError, match=r"together\.json") as caught:
        listing.read(tmp_path, "together")
    assert caught.value.fix is not None
    assert "anytune providers refresh" in caught.value.fix


@pytest.mark.parametrize(
    ("said", "place"),
    [
        ("catalog: {together: {models: {m: {price: {sft: cheap}}}}}", "together.models.m.price.sft: 'cheap'"),
        ("catalog: {together: {models: {m: {price: {sft: -1}}}}}", "together.models.m.price.sft: -1"),
        ("catalog: {together: {models: {m: {price: {stf: 1}}}}}", "together.models.m.price.stf"),
        ("catalog: {together: {models: {m: {prise: 1}}}}", "unknown key 'catalog.together.models.m.prise'"),
        ("catalog: {together: {models: {m: {shutdown: soon}}}}", "together.models.m.shutdown: 'soon'"),
        ("catalog: {together: {models: [m]}}", "catalog.together.models: this: it takes keys of its own"),
        ("catalog: {together: {models: {m: {methods: sft}}}}", "methods: 'sft': it should be a list"),
        ("catalog: {together: 3}", "catalog.together: 3: it takes keys of its own"),
        ("catalog: [together]", "catalog: this: it takes keys of its own"),
        ("catalog: {together: {regions: [eu]}}", "unknown key 'catalog.together.regions'"),
    ],
)
def test_a_wrong_shape_in_the_settings_is_told_with_its_place(tmp_path: Path, said: str, place: str) -> None:
    (tmp_path / "anytune.yaml").write_text(said + "\n")
    environment = {"ANYTUNE_HOME": str(tmp_path / "home"), "XDG_CONFIG_HOME": str(tmp_path / "none")}
    with pytest.raises(UsageError) as caught:
        config.load_settings(folder=tmp_path, environment=environment)
    assert "anytune.yaml:1:" in caught.value.message
    assert place in caught.value.message


def test_the_projects_word_is_kept_apart_from_the_users(tmp_path: Path) -> None:
    environment = {"ANYTUNE_HOME": str(tmp_path / "home"), "XDG_CONFIG_HOME": str(tmp_path)}
    (tmp_path / "anytune").mkdir()
    (tmp_path / "anytune" / "config.yaml").write_text("catalog: {together: {minimum: 1}}\n")
    (tmp_path / "anytune.yaml").write_text("catalog: {together: {minimum: 2}}\n")
    found = config.load_settings(folder=tmp_path, environment=environment)
    assert found.catalog["together"].minimum == 1
    assert found.project_catalog["together"].minimum == 2
    (tmp_path / "anytune.yaml").write_text("project_catalog: {}\n")
    with pytest.raises(UsageError, match="unknown key 'project_catalog'"):
        config.load_settings(folder=tmp_path, environment=environment)


@pytest.mark.parametrize(
    ("today", "ok", "forced", "says"),
    [
        (date(2026, 10, 1), True, True, None),
        (
            date(2026, 11, 27),
            True,
            True,
            "openai takes new jobs on gpt-4.1-mini-2025-04-14 until 2027-01-05 (in 39 days)",
        ),
        (date(2027, 1, 5), True, True, "until 2027-01-05 (today)"),
        (date(2027, 1, 6), False, True, "openai takes no new jobs on gpt-4.1-mini-2025-04-14 since 2027-01-05"),
        (date(2027, 1, 14), False, True, "shut down on 2027-01-14, today"),
        (date(2027, 1, 15), False, False, "was shut down on 2027-01-14"),
    ],
)
def test_closing_dates_warn_before_and_refuse_after_and_force_helps_where_it_may(
    tmp_path: Path, today: date, ok: bool, forced: bool, says: str | None
) -> None:
    shipped = catalog.load("openai")
    made = plan(tmp_path, shipped, MINI, today=today)
    assert made.ok is ok
    assert plan(tmp_path, shipped, MINI, today=today, force=True).ok is forced
    told = "\n".join((*made.refused, *made.warnings))
    assert says is None or says in told
    assert says is not None or "until" not in told


def test_a_model_whose_end_was_put_off_is_tuned_once_the_settings_say_so(tmp_path: Path) -> None:
    later = {"models": {MINI: {"closed": "2027-06-01", "shutdown": "2027-07-01"}}}
    assert plan(tmp_path, laid("openai", later), MINI, today=date(2027, 2, 1)).ok


@pytest.mark.parametrize(("days", "told"), [(60, False), (61, True)])
def test_a_catalogue_older_than_sixty_days_is_said_to_be_old(tmp_path: Path, days: int, told: bool) -> None:
    shipped = catalog.load("fireworks")
    today = date.fromordinal(shipped.as_of.toordinal() + days)
    warnings = plan(tmp_path, shipped, "qwen3-8b", today=today).warnings
    said = f"models and prices of fireworks were read on {shipped.as_of}, {days} days ago: they may be others by now"
    assert (said in warnings) is told


def test_of_a_model_asked_for_today_only_the_price_is_old(tmp_path: Path) -> None:
    found = catalog.laid(catalog.load("together"), listing=own_list("together", QWEN), layers=[], today=TODAY)
    (warning,) = [said for said in plan(tmp_path, found, QWEN).warnings if "were read on" in said]
    assert warning.startswith("prices of together were read on 2026-09-11, 77 days ago")


def test_a_strangers_project_cannot_make_an_own_machine_cheaper() -> None:
    own, theirs = Layer(usd_per_hour=Decimal(2)), Layer(usd_per_hour=Decimal(0), usd_per_kwh=Decimal(1))
    layers = [(own, False), (theirs, True)]
    found = catalog.laid(catalog.load("local"), listing=None, layers=layers, today=TODAY)
    assert (found.usd_per_hour, found.usd_per_kwh) == (2, 1)


def test_a_list_of_another_host_says_nothing_of_this_one(tmp_path: Path) -> None:
    listing.write(tmp_path, own_list("together", "brand/new"))
    for address, known in ((None, False), ("https://x/v1", True)):
        settings = config.Settings(home=tmp_path, profiles={"together": config.ProfileSettings(base_url=address)})
        found = Offers(settings, today=lambda: TODAY).of("together")
        assert found is not None
        assert ("brand/new" in found.models) is known


def test_the_settings_that_the_page_shows_are_taken(tmp_path: Path) -> None:
    page = (Path(__file__).resolve().parent.parent / "docs" / "how-to" / "prices.md").read_text(encoding="utf-8")
    shown = [block.partition("```")[0] for block in page.split("```yaml\n")[1:]]
    (tmp_path / "anytune.yaml").write_text(next(block for block in shown if block.startswith("catalog:")))
    environment = {"ANYTUNE_HOME": str(tmp_path / "home"), "XDG_CONFIG_HOME": str(tmp_path / "none")}
    found = config.load_settings(folder=tmp_path, environment=environment)
    assert {"my/model", QWEN} <= set(found.project_catalog["together"].models)
    assert Offers(found, today=lambda: TODAY).all()


@pytest.mark.parametrize("name", ["fireworks", "replicate", "hf-jobs"])
def test_what_was_never_seen_live_is_marked_as_a_guess(name: str) -> None:
    page = (FOLDER.parents[1] / "docs" / "reference" / "providers.md").read_text(encoding="utf-8")
    guessed = catalog.load(name).guessed
    assert guessed
    assert [guess for guess in guessed if f"not seen at the live service: {guess}" not in page] == []


def test_who_keeps_no_checkpoints_says_why(tmp_path: Path) -> None:
    at = Tuner(folder=tmp_path)
    for name in providers.BUILT_IN:
        shows = isinstance(at.reach.provider(name), Checkpoints)
        assert shows is (catalog.load(name).no_checkpoints is None), name
