"""How one profile speaks OpenAI's API: the dialect that holds, where its server is, and what is known of it."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from urllib.parse import urlsplit

from anytune import catalog
from anytune.catalog import Catalog
from anytune.errors import UsageError
from anytune.providers.base import Profile
from anytune.providers.openai.request import rules
from anytune.schema.dialect import Dialect, Tiers
from anytune.schema.plan import Capabilities, Rule


@dataclass(frozen=True)
class Speech:
    """Be a profile and the catalogue that it is like."""

    profile: Profile

    @property
    def name(self) -> str:
        """Return the name by which the user calls the provider."""
        return self.profile.name

    @cached_property
    def like(self) -> Catalog:
        """Return the catalogue of the provider whose dialect is spoken."""
        return catalog.load(self.profile.like or self.name)

    @cached_property
    def foreign(self) -> bool:
        """Tell whether this is a server of the user's own, of which the catalogue knows the dialect alone."""
        return self.profile.like is not None and self.moved

    @cached_property
    def moved(self) -> bool:
        """Tell whether it is reached at another host than the provider's own, or one below that."""
        given, own = self.profile.base_url, self.like.base_url
        hosts = (*([urlsplit(own).hostname or ""] if own else []), *self.like.domains)
        host = urlsplit(given).hostname if given is not None else None
        return given is not None and not any(f".{host}".endswith(f".{each}") for each in hosts)

    @cached_property
    def dialect(self) -> Dialect:
        """Return the dialect; nowhere but at its own host are metadata relied on, which a gateway may drop, too."""
        if self.like.dialect is None:
            raise UsageError(f"profiles.{self.name}.like: {self.like.provider} does not speak OpenAI's API")
        tag = "both" if self.moved and self.like.dialect.tag == "metadata" else self.like.dialect.tag
        update: dict[str, object] = {"tag": tag}
        if self.foreign:
            update |= {"events_tell_losses": False, "parts_above": None}
        return self.like.dialect.model_copy(update=update)

    @property
    def base_url(self) -> str:
        """Return the address; raise `UsageError` where only the user can know it and did not say."""
        given = self.profile.base_url or self.like.base_url
        if given is None:
            raise UsageError(self._no_address, fix=f"profiles: {{{self.name}: {{base_url: …}}}} in anytune.yaml")
        bare = given.rstrip("/")
        return f"{bare}{self.dialect.path or ''}" if urlsplit(bare).path == "" else bare

    @property
    def tier(self) -> dict[str, str]:
        """Return the field that says in which price class a job is trained; raise `UsageError` for an unknown one."""
        tiers, tier = self.dialect.tiers, self._tier
        if tiers is None or tier is None:
            return {}
        if tier not in tiers.words:
            raise UsageError(_no_such_tier(self.name, tier, tiers))
        return {tiers.field: tiers.words[tier]}

    @property
    def _tier(self) -> str | None:
        return (self.profile.tier or self.dialect.tiers.default) if self.dialect.tiers else None

    def capabilities(self, model: str) -> Capabilities:
        """Describe what can be done with a base model; of a server of the user's own only the dialect is known."""
        known = catalog.capabilities(self.like.provider, model, settings=rules(self.dialect))
        methods = tuple(m for m in known.methods if m in self.dialect.methods) if known.known else self.dialect.methods
        update: dict[str, object] = {
            "provider": self.name,
            "methods": methods,
            "roams": self._roams,
            "problems": tuple(self._problems()),
        }
        if self.foreign:
            return known.model_copy(update={**update, **self._unknown()})
        if known.known and self.like.models[model].lora_only and "training.lora" in self.dialect.knobs:
            only = Rule(outcome="refused", why=f"{self.name} tunes this model by LoRA only")
            update["settings"] = {**known.settings, "training.lora": only}
        return known.model_copy(update=update)

    def _unknown(self) -> dict[str, object]:
        host = urlsplit(self.base_url).netloc.rpartition("@")[2]
        blank = dict.fromkeys(
            ("price", "hosting", "cancelling", "max_length", "accepts_jobs_until", "model_shutdown", "as_of", "regions")
        )
        note = f"which models {host} tunes, at which price and until when is not known here"
        return {
            **blank,
            "hosts": {},
            "places": {},
            "known": True,
            "methods": self.dialect.methods,
            "similar": (),
            "region_note": f"the profile sends it to {host}",
            "weights_downloadable": self.dialect.model == "checkpoint",
            "notes": (note,),
        }

    @property
    def _no_address(self) -> str:
        return f"profiles.{self.name}.base_url is not set: {self.like.address}"

    @property
    def _roams(self) -> str | None:
        tiers, tier = self.dialect.tiers, self._tier
        if tiers is None or tier not in tiers.roaming:
            return None
        return f"the tier {tier} may train anywhere: profiles.{self.name}.tier: {tiers.default} keeps it in the region"

    def _problems(self) -> list[str]:
        tiers, tier = self.dialect.tiers, self.profile.tier
        found = [] if self.profile.base_url or self.like.base_url else [self._no_address]
        if tier is not None and tiers is None:
            found.append(f"profiles.{self.name}.tier: {self.like.provider} has no tiers")
        if tier is not None and tiers is not None and tier not in tiers.words:
            found.append(_no_such_tier(self.name, tier, tiers))
        return found


def _no_such_tier(name: str, tier: str, tiers: Tiers) -> str:
    near = get_close_matches(tier, tiers.words, n=1)
    return f"profiles.{name}.tier: {tier!r}: " + (f"did you mean {near[0]}?" if near else f"{', '.join(tiers.words)}")
