"""Typed settings: what a section is, and the kinds of number that its fields hold."""

import re
from typing import Annotated, Any, ClassVar, get_args

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError


def _no_boolean(value: Any) -> Any:
    """`--wd true` is a mistake, and no 1."""
    if isinstance(value, bool):
        raise PydanticCustomError("boolean", "input should be a number")
    return value


def _seeds(value: Any) -> Any:
    """`--seeds 3` means the seeds 0, 1, 2; `--seeds 4,7` means those two."""
    if isinstance(value, int) and not isinstance(value, bool):
        return list(range(min(value, 10_000)))
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _seconds(value: Any) -> Any:
    """`24h`, `90m`, `1h30m` and `45s` as seconds."""
    if not isinstance(value, str):
        return value
    parts = re.fullmatch(r"(?:([\d.]+)h)?(?:([\d.]+)m)?(?:([\d.]+)s)?", value.replace(" ", "").lower())
    try:
        hours, minutes, seconds = (float(part or 0) for part in parts.groups())
    except (AttributeError, ValueError):
        raise PydanticCustomError("duration", "input should be a time such as 24h, 90m, 1h30m or 45s") from None
    return 3600 * hours + 60 * minutes + seconds


_NUMBER = BeforeValidator(_no_boolean)
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False), _NUMBER]
Decay = NonNegative
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False), _NUMBER]
#: A number of seconds, or a text such as 24h.
Duration = Annotated[float, Field(gt=0, allow_inf_nan=False), BeforeValidator(_seconds), _NUMBER]
Fraction = Annotated[float, Field(ge=0, lt=1), _NUMBER]
Count = Annotated[int, Field(ge=1), _NUMBER]
Whole = Annotated[int, Field(ge=0, lt=2**31), _NUMBER]
#: Seeds of a study or a sweep, their number, or a text with commas.
Seeds = Annotated[list[Whole], BeforeValidator(_seeds), Field(min_length=1, max_length=1000)]


class Section(BaseModel):
    """A part of the settings: unknown keys are refused, and nothing changes once it is checked.

    `place` is the key of a source of data that `--data SOURCE:PLACE` fills, if there is one.
    """

    place: ClassVar[str | None] = None
    model_config = ConfigDict(extra="forbid", frozen=True)

    def to_yaml(self) -> str:
        """All settings, defaults included, as YAML that reads back to the same settings.

        >>> class Size(Section):
        ...     width: Count = 3
        >>> Size().to_yaml()
        'width: 3\\n'
        """
        # Escaped beyond ASCII: PyYAML writes a bare U+0085 that it reads back as a line break.
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


def members(annotation: Any) -> list[type[Section]]:
    """Sections that a field may hold: several where it is a union."""
    options = get_args(annotation) or (annotation,)
    return [option for option in options if isinstance(option, type) and issubclass(option, Section)]


def literals(section: type[Section], name: str) -> tuple[str, ...]:
    """Values that a field of literals may have, such as the sources of one section of data."""
    return get_args(section.model_fields[name].annotation)
