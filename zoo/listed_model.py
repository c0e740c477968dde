"""What a row of the registry of models says, and what the settings of any model answer; no Keras."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from rankscope.settings import Section
from rankscope.settings.section import literals

if TYPE_CHECKING:
    import keras

    from rankscope.data.dataset import Dataset


class ModelSettings(Section):
    """Settings of any model: its constructor's arguments, but for `seed` and for the sizes that come with the data.

    `divides_images` is the setting that must divide the side of each image, of a model that takes images of several
    sizes (`training.image_size_schedule`); None for any other model.
    """

    divides_images: ClassVar[str | None] = None
    name: str

    @property
    def has_depthwise_convolution(self) -> bool:
        """Whether a step has depthwise convolutions, which XLA computes slowly on a CPU."""
        return False

    def flops_per_token(self, parameters: int, sequence_length: int) -> float | None:
        """Operations that training takes a token, forward and backward; None where nobody has counted them.

        Args:
            parameters: int, of the model.
            sequence_length: int, tokens of a sample.
        """
        return None


@dataclass(frozen=True)
class ListedModel:
    """A row of the registry; Keras is imported by `load` and `loss` alone.

    Args:
        settings: class of the settings, with the model's name as the literal of `name`.
        title: a few words that say what it is.
        load: function that imports and returns the class.
        data: `kind` of the data that it learns from.
        arguments: attributes of the data that are arguments of the class.
        loss: function of the data that returns the loss.
        paper: where the paper has it; None: nowhere.
        writes_text: whether `zoo.generate` lets it write: it has the layers of `zoo.GPT` by name.
    """

    settings: type[ModelSettings]
    title: str
    load: "Callable[[], type[keras.Model]]"
    data: str
    arguments: tuple[str, ...]
    loss: "Callable[[Dataset], keras.losses.Loss]"
    paper: str | None = None
    writes_text: bool = False

    @property
    def name(self) -> str:
        """What settings call it."""
        return literals(self.settings, "name")[0]

    @property
    def in_words(self) -> str:
        """Name, title and where the paper has it."""
        return f"{self.name}, {self.title}" + (f" ({self.paper})" if self.paper else "")
