"""The list of codecs, and the record of each."""

from __future__ import annotations

import pytest

from dfmcodec.codecs.record import codec_of
from dfmcodec.codecs.renderer import Renderer
from dfmcodec.container.section_form import SectionForm
from dfmcodec.models import NAMED_MODELS, VISUAL_BY_DEFAULT, VISUAL_MODELS, Model, has_option, models_of_option
from dfmcodec.options import EFFORTS, EncodeSettings, options_of
from dfmcodec.search.encoder import Encoder


@pytest.mark.parametrize("model", Model)
def test_a_record_loads_all_parts_of_a_codec(model: Model) -> None:
    codec = codec_of(model)
    assert codec.header.model is model
    assert isinstance(codec.section_form(), SectionForm)
    assert isinstance(codec.renderer(), Renderer)
    assert isinstance(codec.encoder(), Encoder)


def test_codes_and_names_are_unique() -> None:
    assert len({model.code for model in Model}) == len(Model)
    assert NAMED_MODELS == ("wavelet", "overfitted", "coordinate")
    assert VISUAL_MODELS == ("wavelet", "overfitted")
    assert VISUAL_BY_DEFAULT == ("wavelet",)
    assert [Model.named(model.value) for model in Model] == list(Model)


def test_options_of_codecs_are_options() -> None:
    names = {name for name, *_ in options_of(EncodeSettings)}
    assert {name for model in Model for name in model.traits.options} <= names
    assert models_of_option("size") is None
    assert models_of_option("quality") == ("auto", "wavelet", "overfitted")
    assert models_of_option("training_steps") == ("overfitted", "coordinate")
    assert [has_option(model, "effort") for model in ("auto", "wavelet", "coordinate")] == [True, True, False]


def test_codecs_are_tried_from_an_effort_on() -> None:
    traits = Model.OVERFITTED.traits
    assert [effort for effort in EFFORTS if traits.is_automatic(effort, 1000)] == [7, 9]
    assert not traits.is_automatic(9, 4_000_001)
    assert not Model.COORDINATE.traits.is_automatic(9, 1000)
