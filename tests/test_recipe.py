"""A job goes to another trainer and comes back, and nothing changes on the way without a word."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from anytune.errors import AnytuneError, RefusedError, UsageError
from anytune.local.settings import resolve
from anytune.planner import chosen
from anytune.recipe import TOOLS, take_in
from anytune.recipe.known import flat, nested
from anytune.schema.spec import TuneSpec, every_setting
from anytune.tuner import Tuner
from tests.amount import examples

CHAT = {"messages": [{"role": "user", "content": "How many?"}, {"role": "assistant", "content": "Seven."}]}
PAIR = {
    "input": {"messages": CHAT["messages"][:1]},
    "preferred_output": [{"role": "assistant", "content": "Seven."}],
    "non_preferred_output": [{"role": "assistant", "content": "Nine."}],
}
PREFERENCE = ("beta", "simpo_gamma", "orpo_lambda")
SETTINGS: dict[str, Any] = {
    "epochs": st.integers(1, 9),
    "batch_size": st.integers(1, 64),
    "learning_rate": st.sampled_from([1e-5, 2e-4, 0.004, 0.1]),
    "warmup_ratio": st.sampled_from([0.0, 0.03, 0.1, 0.5]),
    "weight_decay": st.sampled_from([0.0, 0.01, 0.1]),
    "max_grad_norm": st.sampled_from([0.3, 1.0, 2.0]),
    "scheduler": st.sampled_from(["linear", "cosine", "constant"]),
    "max_length": st.integers(64, 8192),
    "seed": st.integers(0, 2**31 - 1),
    "lora": st.none()
    | st.fixed_dictionaries(
        {"rank": st.integers(1, 256)},
        optional={
            "alpha": st.integers(1, 512),
            "dropout": st.sampled_from([0.0, 0.05, 0.5]),
            "target_modules": st.sampled_from(["all-linear", ["q_proj"], ["q_proj", "v_proj"]]),
            "use_rslora": st.booleans(),
        },
    ),
    "quantize": st.sampled_from([None, "nf4"]),
}


def _job(folder: Path, training: dict[str, Any] | None = None, *, lines: list[Any] | None = None, **more: Any) -> Path:
    records = lines if lines is not None else [_numbered(n) for n in range(12)]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "train.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    job = {"name": "job", "provider": "local", "model": "org/base", "data": {"train": "train.jsonl"}} | more
    path = folder / "finetune.yaml"
    path.write_text(yaml.safe_dump(job | {"training": training or {}}))
    return path


def _numbered(number: int) -> dict[str, Any]:
    asked = {"role": "user", "content": f"How many in {number}?"}
    return {"messages": [asked, {"role": "assistant", "content": str(number)}]}


def _spec(path: Path) -> TuneSpec:
    return Tuner().read(path, provider="local")


def _hand_over(job: Path, to: str, out: Path) -> dict[str, Any]:
    Tuner().hand_over(_spec(job), to=to, out=out)
    document: dict[str, Any] = yaml.safe_load((out / "config.yaml").read_text())
    return document


@pytest.mark.parametrize("tool", TOOLS)
@settings(max_examples=examples(30), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(training=st.fixed_dictionaries({}, optional=SETTINGS))
def test_a_job_that_goes_and_comes_back_trains_the_same(
    tool: str, training: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp(tool)
    if training.get("lora", "auto") is None:
        training = {**training, "quantize": None}
    job = _job(folder / "from", training)
    if tool == "unsloth":  # which has no key for these
        training = {name: value for name, value in training.items() if name not in ("scheduler", "max_grad_norm")}
        job = _job(folder / "from", training)
    _hand_over(job, tool, folder / "job")
    back = take_in(folder / "job" / "config.yaml", out=folder / "back.yaml")
    before, after = resolve(_spec(job)), resolve(_spec(folder / "back.yaml"))
    assert before.pop("micro_batch_size") in (None, after.pop("micro_batch_size"))
    if tool == "unsloth" and before["lora"] and before["lora"]["target_modules"] == "all-linear":
        assert after["lora"].pop("target_modules")[0] == "q_proj"
        before["lora"].pop("target_modules")
    if tool != "axolotl":  # the others cut off the end: their files have no key for it
        assert (before.pop("over_length"), after.pop("over_length")) == ("drop", "truncate_right")
    steps = 12 // min(before["batch_size"], 12) * before["epochs"] or 1
    assert abs(before.pop("warmup_ratio") - after.pop("warmup_ratio")) <= 1 / steps
    assert before == after
    assert not back.lost


@pytest.mark.parametrize("tool", TOOLS)
def test_each_setting_changes_the_file_or_is_refused(tool: str, tmp_path: Path) -> None:
    other: dict[str, Any] = {
        "epochs": 7, "batch_size": 6, "micro_batch_size": 3, "learning_rate": 3e-3, "warmup_ratio": 0.4,
        "weight_decay": 0.2, "max_grad_norm": 0.5, "scheduler": "cosine", "lora": {"rank": 3}, "quantize": None,
        "max_length": 99, "over_length": "refuse", "seed": 5, "lora.rank": 5, "lora.alpha": 5, "lora.dropout": 0.2,
        "lora.target_modules": ["q_proj"], "lora.use_rslora": True, "beta": 0.3, "learning_rate_multiplier": 2.0,
        "simpo_gamma": 0.7, "orpo_lambda": 0.2, "group_size": 3, "max_new_tokens": 33,
    }  # fmt: skip
    plain = _hand_over(_job(tmp_path / "plain"), tool, tmp_path / "plain-job")
    paths = {path.removeprefix("training.") for path in every_setting() if path.startswith("training.")} | {
        "micro_batch_size"
    }
    for number, name in enumerate(sorted(paths)):
        inner = name.removeprefix("lora.")
        training = {"lora": {inner: other[name]}} if inner != name else {name: other[name]}
        method: dict[str, Any] = {"method": "dpo", "lines": [PAIR] * 12} if name in PREFERENCE else {}
        if name in ("group_size", "max_new_tokens"):
            asked = [{"messages": _numbered(n)["messages"][:1]} for n in range(12)]
            method = {"method": "rft", "lines": asked, "rewards": [{"type": "regex", "pattern": "[0-9]"}]}
        job = _job(tmp_path / f"{number}", training, **method)
        with suppress(RefusedError):
            assert _hand_over(job, tool, tmp_path / f"{number}-job") != plain, name


def test_all_that_the_trainer_would_choose_by_itself_is_said(tmp_path: Path) -> None:
    job = _job(tmp_path)
    document = _hand_over(job, "axolotl", tmp_path / "job")
    assert document["learning_rate"] == 2e-4
    assert document["lora_alpha"] == 32
    assert document["seed"] == 0
    assert document["adapter"] == "qlora"
    assert document["lr_scheduler"] == "linear"
    assert document["excess_length_strategy"] == "drop"
    assert document["sample_packing"] is False
    assert not list(chosen(_spec(job)))[1:], "only the epochs were said"


@pytest.mark.parametrize("tool", ["axolotl", "llama-factory", "trl"])
def test_pairs_are_written_as_the_trainer_reads_them(tool: str, tmp_path: Path) -> None:
    job = _job(tmp_path, {"beta": 0.3}, lines=[PAIR], method="dpo")
    document = _hand_over(job, tool, tmp_path / "job")
    record = json.loads((tmp_path / "job/data/train.jsonl").read_text())
    assert record["prompt"] == PAIR["input"]["messages"]
    chosen_one = record["chosen"] if tool == "llama-factory" else record["chosen"][0]
    assert chosen_one == PAIR["preferred_output"][0]
    assert 0.3 in document.values()


def test_a_validation_file_and_a_split_lie_beside_the_config(tmp_path: Path) -> None:
    job = _job(tmp_path, data={"train": "train.jsonl", "split": 0.25})
    document = _hand_over(job, "trl", tmp_path / "job")
    counts = [len((tmp_path / f"job/data/{role}.jsonl").read_text().splitlines()) for role in ("train", "validation")]
    assert sum(counts) == 12
    assert min(counts) >= 1
    assert document["dataset_test_split"] == "validation"
    assert document["dataset_name"] == "./data"


def test_an_answer_of_weight_0_goes_where_it_is_heeded_and_nowhere_else(tmp_path: Path) -> None:
    unlearnt = {"role": "assistant", "content": "Hm.", "weight": 0}
    chat = {"messages": [CHAT["messages"][0], unlearnt, *CHAT["messages"]]}
    job = _job(tmp_path, lines=[CHAT, chat])
    _hand_over(job, "axolotl", tmp_path / "axolotl")
    written = (tmp_path / "axolotl/data/train.jsonl").read_text().splitlines()
    assert json.loads(written[1])["messages"][1] == {"role": "assistant", "content": "Hm.", "train": False}
    for tool in ("llama-factory", "trl", "unsloth"):
        with pytest.raises(RefusedError, match=r"train\.jsonl:2: .*weight 0"):
            _hand_over(job, tool, tmp_path / tool)
        assert not (tmp_path / tool).exists()
    assert not [file.name for file in tmp_path.iterdir() if file.name.startswith(".")]


def test_tool_calls_do_not_go_to_a_trainer_that_reads_them_otherwise(tmp_path: Path) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "count", "arguments": "{}"}}
    chat = {
        "messages": [
            CHAT["messages"][0],
            {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "1", "content": "7"},
            CHAT["messages"][1],
        ],
        "tools": [{"type": "function", "function": {"name": "count", "parameters": {"type": "object"}}}],
    }
    job = _job(tmp_path, lines=[chat])
    with pytest.raises(RefusedError, match="tool calls"):
        _hand_over(job, "llama-factory", tmp_path / "no")
    _hand_over(job, "trl", tmp_path / "yes")


def test_faulty_data_and_a_folder_that_is_there_are_told_before_anything_is_written(tmp_path: Path) -> None:
    job = _job(tmp_path, lines=[{"messages": []}])
    with pytest.raises(RefusedError) as refused:
        _hand_over(job, "trl", tmp_path / "job")
    assert any("train.jsonl line 1" in reason for reason in refused.value.reasons)
    with pytest.raises(UsageError, match="is there already"):
        _hand_over(_job(tmp_path), "trl", tmp_path)
    with pytest.raises(UsageError, match="no trainer is called"):
        _hand_over(_job(tmp_path), "torchtune", tmp_path / "job")
    assert not (tmp_path / "job").exists()


def test_a_method_that_the_trainer_does_not_have_is_refused(tmp_path: Path) -> None:
    job = _job(tmp_path, lines=[PAIR], method="dpo")
    with pytest.raises(RefusedError) as refused:
        _hand_over(job, "unsloth", tmp_path / "job")
    assert "method dpo" in refused.value.reasons[0]


def _take(tmp_path: Path, text: str, **more: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """Take in a file; return the job file's training and why each key is not in it."""
    (tmp_path / "theirs.yml").write_text(text)
    done = take_in(tmp_path / "theirs.yml", out=tmp_path / "job.yaml", force=True, **more)
    job = yaml.safe_load((tmp_path / "job.yaml").read_text())
    return job, {setting.path: str(setting.why) for setting in done.lost}


def test_what_a_file_leaves_out_comes_as_its_trainers_default(tmp_path: Path) -> None:
    _job(tmp_path)
    axolotl = "base_model: org/base\nadapter: lora\nlora_r: 8\nlora_alpha: 16\nlearning_rate: 1e-4\n"
    job, _ = _take(tmp_path, axolotl + "datasets: [{path: train.jsonl, type: chat_template}]\n")
    assert job["training"]["scheduler"] == "cosine"
    assert job["training"]["max_length"] == 512
    assert job["training"]["epochs"] == 1
    assert job["training"]["learning_rate"] == 1e-4
    assert job["training"]["quantize"] is None
    job, lost = _take(tmp_path, "model_name_or_path: org/base\ndatasets: [{path: json, data_files: train.jsonl}]\n")
    assert job["training"]["learning_rate"] == 2e-5
    assert job["training"]["lora"] is None
    assert "answers alone" in lost["assistant_only_loss"]


def test_a_warm_up_in_steps_becomes_a_share_where_the_examples_can_be_counted(tmp_path: Path) -> None:
    _job(tmp_path)
    text = (
        "model: org/base\ndata: {local_dataset: [train.jsonl]}\ntraining: {warmup_steps: 3, train_on_completions: true}"
    )
    job, lost = _take(tmp_path, text)
    assert job["training"]["warmup_ratio"] == 0.5, "12 examples, 8 a step, 3 epochs: 6 steps"
    assert not lost
    _, lost = _take(tmp_path, text.replace("train.jsonl", "elsewhere.jsonl"))
    assert set(lost) == {"training.warmup_steps", "data.train"}


def test_what_a_job_file_cannot_hold_stands_in_it_as_a_comment(tmp_path: Path) -> None:
    _job(tmp_path)
    text = "model_name_or_path: org/base\nstage: sft\ndataset: mine\nuse_dora: true\n"
    text += "num_train_epochs: 1.5\ntemplate: qwen3\n"
    (tmp_path / "data").mkdir()
    (tmp_path / "data/dataset_info.json").write_text(json.dumps({"mine": {"file_name": "../train.jsonl"}}))
    job, lost = _take(tmp_path, text)
    assert set(lost) == {"use_dora", "training.epochs", "template"}
    assert job["data"]["train"] == "train.jsonl"
    assert "epochs" not in job["training"]
    written = (tmp_path / "job.yaml").read_text()
    assert "#   use_dora: true" in written
    assert "Not taken over" in written
    assert _spec(tmp_path / "job.yaml").training.lora != "auto"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1", "no key of it tells"),
        ("base_model: ''\ndatasets: []", "names no model"),
        ("base_model: org/base", "names no data"),
        ("base_model: org/base\nrl: kto\ndatasets: [{path: x.jsonl, type: y}]", "trains by kto"),
        ("- 1", "not a mapping"),
        ("a: [", "not YAML"),
    ],
)
def test_a_file_that_cannot_be_taken_in_says_why_and_leaves_nothing(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "theirs.yml").write_text(text)
    with pytest.raises(UsageError, match=said):
        take_in(tmp_path / "theirs.yml", out=tmp_path / "job.yaml")
    assert [file.name for file in tmp_path.iterdir()] == ["theirs.yml"]


def test_a_job_file_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    job = _job(tmp_path)
    with pytest.raises(UsageError, match="is there already"):
        take_in(tmp_path / "theirs.yml", out=job)


def test_what_is_secret_in_a_file_is_not_repeated(tmp_path: Path) -> None:
    _job(tmp_path)
    text = "base_model: org/base\ndatasets: [{path: train.jsonl, type: chat_template}]\nmystery_api_key: sk-abcdef\n"
    text += "hub_token: hf_abcdef\nspecial: {HF_TOKEN: hf_abcdef, pad_token: <pad>}\n"
    _, lost = _take(tmp_path, text)
    assert set(lost) >= {"hub_token", "mystery_api_key", "special"}
    written = (tmp_path / "job.yaml").read_text()
    assert "abcdef" not in written
    assert "<pad>" in written


def test_a_rate_that_is_called_constant_goes_without_a_warm_up(tmp_path: Path) -> None:
    _job(tmp_path)
    text = "model_name_or_path: org/base\ndataset_name: ./\nwarmup_steps: 0.1\nlr_scheduler_type: constant\n"
    job, _ = _take(tmp_path, text)
    assert job["training"]["warmup_ratio"] == 0
    job, _ = _take(tmp_path, text.replace("constant", "constant_with_warmup"))
    assert (job["training"]["warmup_ratio"], job["training"]["scheduler"]) == (0.1, "constant")


@pytest.mark.parametrize("training", [{"orpo_lambda": 0.3}, {"simpo_gamma": 0.6, "beta": 1.5}, {"beta": 0.2}])
def test_a_loss_of_pairs_goes_to_llama_factory_and_comes_back(training: dict[str, Any], tmp_path: Path) -> None:
    job = _job(tmp_path / "from", training, method="dpo", lines=[PAIR] * 12)
    written = _hand_over(job, "llama-factory", tmp_path / "job")
    assert (
        written["pref_loss"] == {"orpo_lambda": "orpo", "simpo_gamma": "simpo", "beta": "sigmoid"}[next(iter(training))]
    )
    back = take_in(tmp_path / "job" / "config.yaml", out=tmp_path / "back.yaml")
    assert not back.lost
    after = resolve(_spec(tmp_path / "back.yaml"))
    assert {name: after[name] for name in training} == training
    assert "beta" in training or "beta" not in after


@pytest.mark.parametrize(
    ("tool", "key", "value"), [("llama-factory", "stage", "rm"), ("trl", "lora_task_type", "SEQ_CLS")]
)
def test_a_reward_model_goes_and_comes_back(tool: str, key: str, value: str, tmp_path: Path) -> None:
    job = _job(tmp_path / "from", {"max_length": 512}, method="reward", lines=[PAIR] * 12)
    written = _hand_over(job, tool, tmp_path / "job")
    assert written[key] == value
    assert json.loads((tmp_path / "job/data/train.jsonl").read_text().splitlines()[0]).keys() == {
        "prompt",
        "chosen",
        "rejected",
    }
    back = take_in(tmp_path / "job" / "config.yaml", out=tmp_path / "back.yaml")
    assert not back.lost
    assert _spec(tmp_path / "back.yaml").method == "reward"
    before, after = resolve(_spec(job)), resolve(_spec(tmp_path / "back.yaml"))
    assert {name: after[name] for name in ("lora", "learning_rate", "max_length", "quantize")} == {
        name: before[name] for name in ("lora", "learning_rate", "max_length", "quantize")
    }


def test_orpo_is_taken_in_from_axolotl_and_handed_to_none_that_reads_other_pairs(tmp_path: Path) -> None:
    job = _job(tmp_path / "from", {"orpo_lambda": 0.3}, method="dpo", lines=[PAIR] * 12)
    text = "base_model: org/base\nadapter: lora\nrl: orpo\norpo_alpha: 0.2\nlearning_rate: 1e-5\n"
    text += "datasets: [{path: train.jsonl, type: chat_template.argilla}]\n"
    taken, _ = _take(tmp_path / "from", text)
    assert (taken["method"], taken["training"]["orpo_lambda"]) == ("dpo", 0.2)
    for tool in ("axolotl", "trl"):
        with pytest.raises(RefusedError) as refused:
            _hand_over(job, tool, tmp_path / tool)
        assert any(reason.startswith("training.orpo_lambda = 0.3: ") for reason in refused.value.reasons)


def test_the_loss_tells_chats_from_pairs(tmp_path: Path) -> None:
    _job(tmp_path)
    text = "model_name_or_path: org/base\ndataset_name: ./\nassistant_only_loss: true\nloss_type: "
    assert _take(tmp_path, text + "nll")[0]["method"] == "sft"
    assert _take(tmp_path, text + "sigmoid")[0]["method"] == "dpo"
    job, lost = _take(tmp_path, text + "ipo")
    assert (job["method"], "loss_type" in lost) == ("dpo", True)


@pytest.mark.parametrize("tool", TOOLS)
def test_a_step_that_is_no_whole_number_of_passes_is_refused(tool: str, tmp_path: Path) -> None:
    job = _job(tmp_path, {"batch_size": 10, "micro_batch_size": 4})
    with pytest.raises(RefusedError) as refused:
        _hand_over(job, tool, tmp_path / "job")
    assert any("batch_size = 10" in reason for reason in refused.value.reasons)


def test_a_folder_that_cannot_be_made_is_told_in_one_line(tmp_path: Path) -> None:
    job = _job(tmp_path)
    with pytest.raises(AnytuneError, match="cannot be written"):
        _hand_over(job, "trl", tmp_path / "train.jsonl" / "below")


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(["abc", "", "auto", "1e-4", "nan", "inf", -1, 0, 0.5, 10**400, float("inf"), float("nan")]),
    st.sampled_from([[], {}, [1], ["a", 2], [None], [[]], {"a": 1}, {1: 2}, [{"path": 1}], [{"data_files": {}}]]),
    st.sampled_from(["a\0b", "x" * 5000, "../../x", "/", "\ud800".encode("utf-8", "replace").decode()]),
)


@pytest.mark.parametrize("tool", TOOLS)
@settings(
    max_examples=examples(60),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_a_file_with_odd_values_is_taken_in_or_told_in_one_line(
    tool: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("odd")
    document = dict(_flat_config(tool, folder))
    for name in data.draw(st.lists(st.sampled_from([*document, "hub_token"]), min_size=1, max_size=3, unique=True)):
        document[name] = data.draw(ODD, label=name)
    path = folder / "job/odd.yaml"
    path.write_text(yaml.safe_dump({**nested(document, TOOLS[tool]), 7: data.draw(ODD, label="7")}))
    with suppress(UsageError):
        take_in(path, out=folder / "taken.yaml", source=tool)
        _spec(folder / "taken.yaml")
        return
    assert not (folder / "taken.yaml").exists(), "a file that cannot be taken in leaves none behind"


def _flat_config(tool: str, folder: Path) -> dict[str, Any]:
    job = _job(folder / "own", {"warmup_ratio": 0.1, "lora": {"rank": 4}}, data={"train": "train.jsonl"})
    config = flat(_hand_over(job, tool, folder / "job"), TOOLS[tool])
    every = {key.name for key in TOOLS[tool].keys} | ODD_KEYS[tool]
    return dict.fromkeys(sorted(every)) | config


ODD_KEYS: dict[str, set[str]] = {
    "axolotl": {"rl", "warmup_steps", "val_set_size", "test_datasets", "lora_target_modules", "lora_target_linear"},
    "llama-factory": {"warmup_ratio", "val_size", "eval_dataset", "template", "packing"},
    "trl": {"datasets", "test_split_size", "loss_type", "warmup_ratio", "load_in_8bit"},
    "unsloth": {"data.dataset", "training.packing"},
}


@pytest.mark.parametrize("odd", ["abc", 1, [1], {"a": 1}, True])
@pytest.mark.parametrize("place", ["method", "reinforcement", "hyperparameters", "grader", "type", "graders", "a"])
def test_an_odd_part_of_a_job_of_openais_is_taken_in_or_told(place: str, odd: Any, tmp_path: Path) -> None:
    _job(tmp_path)
    check = {"type": "string_check", "input": "{{sample.output_text}}", "reference": "{{item.a}}", "operation": "eq"}
    grader = {"type": "multi", "graders": {"a": check}, "calculate_output": "a"}
    inner = {"hyperparameters": {"n_epochs": 2}, "grader": grader}
    job = {"model": "gpt", "training_file": "train", "method": {"type": "reinforcement", "reinforcement": inner}}
    for part in (job, job["method"], inner, grader, grader["graders"]):
        if place in part:
            part[place] = odd  # type: ignore[index]
    (tmp_path / "theirs.json").write_text(json.dumps(job))
    with suppress(UsageError):
        take_in(tmp_path / "theirs.json", out=tmp_path / "job.yaml", model="org/base")
        assert (tmp_path / "job.yaml").exists()


@pytest.mark.parametrize(
    ("tool", "policy", "sent"),
    [
        ("axolotl", "truncate_right", "truncate"),
        ("axolotl", "refuse", "raise"),
        ("axolotl", "truncate_left", None),
        ("trl", "drop", None),
        ("trl", "truncate_right", "its own way"),
        ("unsloth", "truncate_left", None),
        ("llama-factory", "truncate_right", None),
    ],
)
def test_what_becomes_of_longer_examples_is_said_or_refused(
    tool: str, policy: str, sent: str | None, tmp_path: Path
) -> None:
    job = _job(tmp_path / "from", {"over_length": policy})
    if sent is None:
        with pytest.raises(RefusedError, match="would not learn the same") as caught:
            _hand_over(job, tool, tmp_path / "job")
        assert f"training.over_length = {policy}: it " in str(caught.value.reasons)
    else:
        assert _hand_over(job, tool, tmp_path / "job").get("excess_length_strategy", "its own way") == sent


def test_a_file_that_keeps_the_end_is_taken_in_as_cutting_the_beginning(tmp_path: Path) -> None:
    _job(tmp_path)
    data = "model_name_or_path: org/base\ndatasets: [{path: json, data_files: train.jsonl}]\n"
    assert _take(tmp_path, data + "truncation_mode: keep_end\n")[0]["training"]["over_length"] == "truncate_left"
    assert _take(tmp_path, data)[0]["training"]["over_length"] == "truncate_right"


@pytest.mark.parametrize(
    ("tool", "key", "sent"),
    [("axolotl", "load_in_8bit", True), ("trl", "load_in_8bit", True), ("llama-factory", "quantization_bit", 8)],
)
def test_weights_of_8_bits_go_and_come_back(tool: str, key: str, sent: Any, tmp_path: Path) -> None:
    job = _job(tmp_path / "from", {"quantize": "int8"})
    document = _hand_over(job, tool, tmp_path / "job")
    assert document[key] == sent
    assert not document.get("load_in_4bit")
    take_in(tmp_path / "job" / "config.yaml", out=tmp_path / "back.yaml")
    assert resolve(_spec(tmp_path / "back.yaml"))["quantize"] == "int8"


def test_weights_of_8_bits_are_refused_for_who_has_no_key_for_them(tmp_path: Path) -> None:
    with pytest.raises(RefusedError) as caught:
        _hand_over(_job(tmp_path / "from", {"quantize": "int8"}), "unsloth", tmp_path / "job")
    assert "training.quantize = int8: it has a key for 4 bits alone" in str(caught.value.reasons)
