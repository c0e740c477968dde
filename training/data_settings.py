"""What a run can be told of its data, a section a kind of source, which loads them; reading it imports no Keras."""

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from rankscope.settings import Count, Decay, Fraction, Section, Whole

if TYPE_CHECKING:
    from rankscope.data.dataset import Dataset
    from rankscope.data.images import ImageData
    from rankscope.data.recall import RecallTask
    from rankscope.data.regression import Regression
    from rankscope.data.text import TextData


class DataSettings(Section):
    """Settings of any source of data."""

    source: str

    def load(self) -> "Dataset":
        """The data.

        Raises:
            ValueError: for data that cannot be had or split.
        """
        raise NotImplementedError

    def load_stand_in(self) -> "Dataset":
        """Data of the same sizes, to build a model by where the data themselves may not be there."""
        return self.load()

    def arguments(self) -> dict[str, Any]:
        """All settings but the source, by name."""
        return self.model_dump(exclude={"source"})


class AugmentationSettings(Section):
    """`data.augmentation.Augmentation`: what happens to training images, all of it off by default."""

    crop_scale: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="Least part of the area that a random crop keeps; null: no crop."
    )
    flip: bool = Field(False, description="Every second image mirrored.")
    rand_augment: Annotated[float, Field(ge=0, le=10)] | None = Field(
        None, description="Magnitude of RandAugment; null: none."
    )
    random_erasing: Annotated[float, Field(ge=0, le=1)] = Field(
        0.0, description="Probability that a rectangle becomes noise."
    )
    mixup: Annotated[float, Field(ge=0, le=1)] = Field(0.0, description="α of mixup; 0: none.")
    cutmix: Annotated[float, Field(ge=0, le=1)] = Field(
        0.0, description="α of CutMix; 0: none. With mixup, each batch has one of the two."
    )
    label_smoothing: Fraction = Field(0.0, description="Part of a training label that all classes share.")
    repeats: Count = Field(1, description="Times in a row that each image is drawn.")


class AnyImageSettings(DataSettings):
    """What all sources of images have in common, see `data.images.load_images`."""

    validation_fraction: Fraction = Field(0.2, description="Part held out, of images that do not come in two parts.")
    split_seed: Whole = Field(0, description="Seed of the split, apart from `seed`: runs share their validation part.")
    max_shift: Whole = Field(0, description="Training images move by up to so many pixels each way.")
    image_size: Count | None = Field(None, description="Side of the square images; null: their own.")
    augmentation: AugmentationSettings = AugmentationSettings()
    skip_bad_images: Whole = Field(0, description="Images that may be replaced where they cannot be read.")
    workers: Count | None = Field(None, description="Threads that draw batches; null: one a core, at most 16.")

    def load(self) -> "ImageData":
        """Of `data.images.load_images`."""
        from rankscope.data.augmentation import Augmentation
        from rankscope.data.images import load_images

        augmentation = Augmentation(**self.augmentation.model_dump())
        return load_images(self.source, **{**self.arguments(), "augmentation": augmentation})


class SmallImageSettings(AnyImageSettings):
    """Images that lie in memory, at their own size."""

    max_shift: Whole = Field(2, description="Training images move by up to so many pixels each way.")


class ImageSettings(SmallImageSettings):
    """Digits that come with pip, and `keras.datasets`."""

    source: Literal["mnist_5k", "mnist", "fashion_mnist", "cifar10", "cifar100"]


class IdxSettings(SmallImageSettings):
    """`data.image_sources.idx_files`."""

    place: ClassVar = "path"
    source: Literal["idx"]
    path: str = Field(description="Folder of train-images-idx3-ubyte and its like.")


class FolderSettings(AnyImageSettings):
    """`data.image_sources.class_folder`."""

    place: ClassVar = "path"
    source: Literal["folder"]
    path: str = Field(description="Folder of one folder a class, relative to the working directory.")


class TfdsSettings(AnyImageSettings):
    """`data.tfds_source.tfds_pictures`."""

    place: ClassVar = "name"
    source: Literal["tfds"]
    name: str = Field(description="Of the dataset, such as imagenet2012.")
    data_dir: str | None = Field(None, description="Where prepared datasets are; null: tensorflow-datasets' own place.")
    manual_dir: str | None = Field(None, description="Where archives are that it can be prepared from; null: its own.")

    def load_stand_in(self) -> "ImageData":
        """No pictures, of ImageNet's classes, which a model is described without."""
        import numpy as np

        from rankscope.data.images import ImageData

        none = np.empty((0, self.image_size, self.image_size, 3), np.uint8), np.empty(0, np.int64)
        return ImageData(self.source, self.name, *none, *none, num_classes=1000)


VisionSettings = ImageSettings | IdxSettings | FolderSettings | TfdsSettings


class DiagonalSettings(DataSettings):
    """`data.regression.diagonal_regression`."""

    source: Literal["diagonal"]
    singular_values: list[Decay] = Field(
        [0.2, 0.4, 0.6, 0.8, 1.0], min_length=1, description="Of the target, figure 1's by default."
    )

    def load(self) -> "Regression":
        """Whitened inputs and a diagonal target."""
        from rankscope.data.regression import diagonal_regression

        return diagonal_regression(**self.arguments())


class NpzSettings(DataSettings):
    """`data.regression.load_regression`."""

    place: ClassVar = "path"
    source: Literal["npz"]
    path: str = Field(description="File of arrays x and y, one sample a row, relative to the working directory.")
    whiten: bool = Field(False, description="Inputs of the training part with XᵀX = I.")
    validation_fraction: Fraction = Field(0.2, description="Part of the samples held out; 0: validate on the training.")
    split_seed: Whole = Field(0, description="Seed of the split, apart from `seed`: runs share their validation part.")

    def load(self) -> "Regression":
        """The samples of the file."""
        from rankscope.data.regression import load_regression

        return load_regression(**self.arguments())


class RecallTaskSettings(DataSettings):
    """`data.recall.RecallTask`."""

    source: Literal["recall"]
    num_pairs: Annotated[Count, Field(ge=2)] = Field(20, description="N, the pairs of a sequence.")
    label_noise: Fraction = Field(0.05, description="Part of the training labels that is replaced by random values.")
    distinct_values: bool = Field(False, description="Values of a sequence as a permutation instead of drawn freely.")
    validation_sequences: Count = Field(2048, description="Sequences held out, with clean labels.")
    validation_seed: Whole = Field(0, description="Seed of the held-out sequences, apart from `seed`: runs share them.")

    def load(self) -> "RecallTask":
        """The task, of which no sequence is stored."""
        from rankscope.data.recall import RecallTask

        return RecallTask(**self.arguments())


class TextSettings(DataSettings):
    """`data.text.load_text`."""

    place: ClassVar = "path"
    source: Literal["text"]
    path: str | None = Field(
        None, description="Directory made by `data tokenize`, relative to the working directory; null: the addresses."
    )
    vocabulary: Literal["gpt2", "characters"] = Field(
        "gpt2", description="Of 50,257 tokens, or of 99 characters for quick studies."
    )
    sequence_length: Count = Field(256, description="T, the tokens that a model sees.")
    validation_windows: Count | None = Field(
        512, description="Held-out windows that are validated on, evenly spread; null: all."
    )

    def load(self) -> "TextData":
        """Windows of the directory's tokens, or of the addresses'."""
        from rankscope.data.text import load_text

        return load_text(**self.arguments())

    def load_stand_in(self) -> "TextData":
        """The addresses, of the same sizes; a text of one's own may not be there yet."""
        return self.model_copy(update={"path": None}).load()


AnyDataSettings = Annotated[
    VisionSettings | DiagonalSettings | NpzSettings | RecallTaskSettings | TextSettings, Field(discriminator="source")
]
