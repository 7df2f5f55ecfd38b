"""Models by name: the grammar, the shipped ones, one's own, and what is said about names that are not there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import mdap.models
from mdap.core.errors import UsageError
from mdap.core.records import Request, Response
from mdap.models.catalog import MODELS, as_model, factory
from mdap.models.function import Function
from mdap.models.openai import openai
from mdap.models.scripted import scripted
from mdap.models.simulated import Simulated, simulated
from tests.models.toy import asked


class Echo:
    """A model of one's own: it says what it was asked, `times` times."""

    def __init__(self, times: int = 1, loud: bool = False) -> None:
        self.times, self.loud = times, loud
        self.spec = f"{__name__}:Echo,times={times}"

    async def complete(self, request: Request) -> Response:
        return Response(request.messages[-1].content * self.times)


class Called:
    """A class whose objects are callables."""

    def __call__(self, prompt: str) -> str:
        return prompt.upper()


def shout(prompt: str) -> str:
    return prompt.upper()


READY = scripted(["ready"])
NOTHING = object()
WORDS = "words"


@pytest.mark.parametrize(
    "spec",
    [
        "simulated:p=0.9",
        "simulated:p=0.98,hard=0.01,p_hard=0.6,flags=0.03,wrong=several,length=500,latency=1.5,sigma=0.6,seed=7",
        "simulated:p=0.95,flags=0.03,flag_share=0.46,flag_shape=1.25",
        "simulated:paper",
        "simulated:paper,seed=7",
        "openai:gpt-4.1-mini,base_url=http://127.0.0.1:9/v1",
        "openai:llama3.2:3b,base_url=http://127.0.0.1:9/v1",
    ],
)
def test_a_model_says_the_spec_that_makes_it_again(spec: str) -> None:
    model = as_model(spec)
    assert as_model(model.spec).spec == model.spec
    assert set(model.spec.split(",")) == set(spec.split(","))


def test_a_bare_name_takes_the_defaults() -> None:
    assert as_model("simulated").spec == "simulated:p=0.9"


def test_models_callables_and_specs_are_all_models() -> None:
    model = simulated(p=0.8)
    assert as_model(model) is model
    assert as_model(READY) is READY
    assert isinstance(as_model(shout), Function)
    assert isinstance(as_model("simulated:paper"), Simulated)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (
            "simulatd:p=0.9",
            "unknown model 'simulatd'. did you mean 'simulated'? there is: anthropic, google, llamacpp, lmstudio, ",
        ),
        ("simulated:q=0.9", "unknown option of simulated 'q'"),
        ("simulated:flag=0.1", "did you mean 'flags'"),
        ("simulated:clock=now", "unknown option of simulated 'clock'"),
        ("simulated:papr", "did you mean 'paper'"),
        ("simulated:p=often", "p='often' is not float"),
        ("simulated:wrong=all", "there is: collide, several, spread"),
        ("openai", "openai needs a model. write openai:MODEL"),
        ("openai:m,api_key=secret", "unknown option of openai 'api_key'"),
        ("scripted", "scripted takes its replies in code"),
        ("nomodel.here:Class", "there is no module 'nomodel'"),
        ("nomodel:Class", "unknown model 'nomodel'"),
        ("tests.models.test_catalog:Eco", "did you mean 'Echo'"),
        ("tests.models.test_catalog:Echo,time=2", "did you mean 'times'"),
        ("tests.models.test_catalog:shout,x=1", "takes no options"),
        ("tests.models.test_catalog:NOTHING", "is no model"),
        ("tests.models.test_catalog:WORDS", "is a text, not a model"),
        ("tests.models.test_catalog:no-name", "unknown model"),
    ],
)
def test_a_spec_that_cannot_be_met_says_what_there_is_and_what_was_probably_meant(spec: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        as_model(spec)
    assert said in str(caught.value)


async def test_a_class_a_function_and_an_object_of_ones_own_are_found_by_module_and_name() -> None:
    echo = as_model("tests.models.test_catalog:Echo,times=2,loud=on")
    assert isinstance(echo, Echo)
    assert (echo.times, echo.loud) == (2, True)
    assert (await as_model("tests.models.test_catalog:shout").complete(asked(1))).text == "COUNT ON FROM 1"
    assert (await as_model("tests.models.test_catalog:Called").complete(asked(1))).text == "COUNT ON FROM 1"
    assert as_model("tests.models.test_catalog:READY") is READY


def test_the_spec_of_a_function_finds_it_again() -> None:
    assert as_model(as_model(shout).spec).spec == as_model(shout).spec


@pytest.mark.parametrize("given", [17, None, Echo, [shout], NOTHING])
def test_what_is_no_model_is_refused_with_what_one_is(given: object) -> None:
    with pytest.raises(UsageError, match=r"no model|not a model"):
        as_model(given)  # type: ignore[arg-type]


def test_every_model_that_ships_has_a_factory_under_its_name() -> None:
    for name in MODELS:
        assert factory(name).__name__ == name
    with pytest.raises(UsageError, match="unknown model 'opena'"):
        factory("opena")


def test_the_package_offers_functions_also_after_their_modules_were_imported() -> None:
    assert mdap.models.openai is openai
    assert mdap.models.simulated is simulated
    assert mdap.models.scripted is scripted
    assert {"as_model", "openai", "anthropic", "vllm", "scripted", "simulated"} <= set(dir(mdap.models))
    with pytest.raises(AttributeError, match="no attribute 'gemini'"):
        _ = mdap.models.gemini


def test_a_simulated_model_needs_no_network_library() -> None:
    program = (
        "import sys, mdap; from mdap.models.openai import openai as function; loaded = 'aiohttp' in sys.modules; "
        "assert loaded; assert mdap.models.openai is function"
    )
    offline = (
        "import sys, mdap.models; from mdap.models.catalog import as_model; "
        "mdap.models.simulated(p=0.9); as_model('simulated:paper'); assert 'aiohttp' not in sys.modules"
    )
    for code in (program, offline):
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=Path(__file__).parents[2],
            env={"PYTHONPATH": "src"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
