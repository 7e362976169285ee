"""Find names of persons by Presidio: slow, not sure, and therefore only for those who ask."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, Protocol

from anytune.data.privacy.kind import NAME
from anytune.data.privacy.report import Finding
from anytune.data.privacy.text import Finder
from anytune.errors import MissingExtraError, UsageError

PERSON = ("PERSON",)
LEAST_SCORE = 0.5
_SIZES = {"sm": 0, "md": 1, "lg": 2, "trf": 3}
_MODELS = {"en": "en_core_web_md", "zh": "zh_core_web_md"}


class Analyzer(Protocol):
    """Be as much of presidio_analyzer.AnalyzerEngine as is used; a result has entity_type, start, end and score."""

    def analyze(self, text: str, language: str, entities: list[str] | None = None) -> Sequence[Any]:
        """Return what was found in a text."""


def presidio(
    analyzer: Analyzer | None = None,
    *,
    language: str = "en",
    entities: Sequence[str] = PERSON,
    least_score: float = LEAST_SCORE,
) -> Finder:
    """Return a finder of kind `name` for `scan` and `redact`.

    Without an `analyzer` Presidio's own is made on the largest spaCy model of the language that is installed. Raise
    MissingExtraError where Presidio is not installed, UsageError where no such model is.
    """
    engine = analyzer if analyzer is not None else _engine(language)

    def find(text: str, /) -> list[Finding]:
        if text.isascii() and text == text.lower():
            return []  # a key or a role: Presidio takes a millisecond for each
        results = engine.analyze(text=text, language=language, entities=list(entities))
        sure = (r for r in results if r.score >= least_score and r.entity_type in entities)
        return sorted((Finding(NAME, r.start, r.end) for r in sure), key=lambda f: (f.start, -f.end))

    return find


def _engine(language: str) -> Analyzer:
    """Make Presidio's engine on a model that is here: by itself it would fetch one."""
    try:
        spacy: Any = importlib.import_module("spacy")
        package: Any = importlib.import_module("presidio_analyzer")
        nlp: Any = importlib.import_module("presidio_analyzer.nlp_engine")
    except ImportError:
        raise MissingExtraError(needs="presidio-analyzer", extra="names") from None
    here = sorted(
        (m for m in spacy.util.get_installed_models() if m.startswith(f"{language}_")), key=_size, reverse=True
    )
    if not here:
        fix = f"install one, such as: python -m spacy download {_MODELS.get(language, f'{language}_core_news_md')}"
        raise UsageError(f"Presidio needs a spaCy model for the language {language}", fix=fix)
    models = [{"lang_code": language, "model_name": here[0]}]
    provider = nlp.NlpEngineProvider(nlp_configuration={"nlp_engine_name": "spacy", "models": models})
    engine: Analyzer = package.AnalyzerEngine(nlp_engine=provider.create_engine(), supported_languages=[language])
    return engine


def _size(model: str) -> int:
    return _SIZES.get(model.rpartition("_")[2], -1)
