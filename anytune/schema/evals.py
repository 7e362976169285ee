"""What a comparison of base and tuned model found."""

from anytune.schema.base import Value


class Answer(Value):
    """Hold one held-out question with the wanted, the base's and the tuned model's answer."""

    question: str
    expected: str
    base: str
    tuned: str
    scores: dict[str, tuple[bool, bool]]


class MetricResult(Value):
    """Compare base and tuned by one metric, as shares of 1; the interval (95 %) is of tuned minus base."""

    metric: str
    base: float
    tuned: float
    difference: float
    interval: tuple[float, float]
    gained: int
    lost: int


class EvalReport(Value):
    """Report base against tuned on `examples` held-out questions."""

    job_id: str
    base: str
    tuned: str
    test_file: str
    examples: int
    metrics: tuple[MetricResult, ...]
    answers: tuple[Answer, ...] = ()
    seconds: float
