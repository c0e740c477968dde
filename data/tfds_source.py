"""Pictures of tensorflow-datasets, read without TensorFlow; ImageNet is prepared from its archives."""

import difflib
from pathlib import Path

from rankscope.data.file_names import printable
from rankscope.data.image_sources import EncodedPictures, Part, Source, one_line

PREPARED_HERE = ("imagenet2012",)  # builders that download nothing once their archives are there


def tfds_pictures(name: str, data_dir: str | None = None, manual_dir: str | None = None) -> Source:
    """A dataset of tensorflow-datasets, read at random from its ArrayRecord files, without TensorFlow.

    Nothing is downloaded. `imagenet2012`, whose archives people get by hand, is prepared from `manual_dir` where it is
    not yet (this imports TensorFlow).

    Args:
        name: such as `"imagenet2012"`, with features `image` and `label`.
        data_dir: where prepared datasets are; None for tensorflow-datasets' own place.
        manual_dir: where the archives are; None for its own place.

    Raises:
        ValueError: in one line, where it is not prepared and cannot be.
    """
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise ValueError(
            'data.source tfds needs the package tensorflow-datasets: pip install -e ".[datasets]"'
        ) from error
    try:
        builder = tfds.builder(name, data_dir=data_dir, file_format="array_record")
    except tfds.core.DatasetNotFoundError as error:
        near = difflib.get_close_matches(name, tfds.list_builders(with_community_datasets=False), n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise ValueError(f"tensorflow-datasets knows no dataset {name}{hint}") from error
    except (ValueError, OSError) as error:  # such as a copy in TFRecord files
        raise ValueError(
            f"tfds:{name} cannot be read as ArrayRecord files: {one_line(error)}. "
            "What was prepared in another format is converted by: tfds convert_format"
        ) from error
    if not builder.is_prepared():
        _prepare(tfds, builder, name, data_dir, manual_dir)
    features = dict(builder.info.features.items())
    wanted = {"image": tfds.features.Image, "label": tfds.features.ClassLabel}
    if not all(isinstance(features.get(key), kind) for key, kind in wanted.items()):
        found = ", ".join(f"{key} ({type(feature).__name__})" for key, feature in sorted(features.items()))
        raise ValueError(f"tfds:{name} must have the features image (Image) and label (ClassLabel). Received: {found}")
    if features["label"].num_classes < 2:
        raise ValueError(f"tfds:{name} must have two classes or more. Received: {features['label'].num_classes}")
    splits = builder.info.splits
    if "train" not in splits:
        raise ValueError(f"tfds:{name} must have a split train. Received: {', '.join(splits)}")
    held_out = next((split for split in ("validation", "test") if split in splits), None)
    train, validation = (split and _tfds_part(tfds, builder, name, split) for split in ("train", held_out))
    return Source(train, validation, features["label"].num_classes)


def _prepare(tfds, builder, name, data_dir, manual_dir):
    by_hand = name.partition("/")[0].partition(":")[0] in PREPARED_HERE
    archives = Path(manual_dir) if manual_dir else Path(builder.data_path).parents[1] / "downloads" / "manual"
    if not by_hand or not archives.is_dir() or not any(archives.iterdir()):
        places = f" --data_dir={data_dir}" if data_dir else ""
        missing = ""
        if by_hand:
            places += f" --manual_dir={archives}"
            missing = f", {archives} holds no archives"
        raise ValueError(
            f"tfds:{name} is not prepared in {builder.data_path}{missing}, and nothing is downloaded here. "
            f"Prepare it by: tfds build {name} --file_format=array_record{places}"
        )
    try:
        builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=str(archives)))
    except MemoryError:
        raise
    except Exception as error:  # of tarfile, TensorFlow and tensorflow-datasets
        raise ValueError(f"tfds:{name} cannot be prepared from {archives}: {one_line(error)}") from error


def _tfds_part(tfds, builder, name, split):
    records = builder.as_data_source(split=split, decoders={"image": tfds.decode.SkipDecoding()})

    def read(index):
        record = records[index]
        return record["image"], int(record["label"])

    def find(index):
        place = f"tfds:{name} {split}[{index}]"
        try:
            file = printable(records[index].get("file_name", ""))
        except MemoryError:
            raise
        except Exception:  # a record that cannot be read has a place and no name
            return place
        return f"{place} {file}".strip()

    return Part(EncodedPictures(len(records), read, find), None)
