"""What pydantic finds wrong, in our words; where we have none, in its own."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, TypeAdapter, ValidationError

from framework.wording import complaint


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        (Annotated[float, Field(gt=0.5)], 0.5, "must be more than 0.5"),
        (Annotated[float, Field(ge=2)], 1, "must be at least 2"),
        (Annotated[int, Field(lt=3)], 3, "must be less than 3"),
        (Annotated[int, Field(le=3)], 10**30, "must be at most 3"),
        (Annotated[str, Field(max_length=2)], "secret", "must have at most 2 characters"),
        (Annotated[str, Field(min_length=1)], "", "must have at least 1 characters"),
        (Annotated[list[int], Field(max_length=1)], [1, 2], "must have at most 1 entries"),
        (Annotated[float, Field(allow_inf_nan=False)], float("nan"), "must be a finite number"),
        (Literal["a", "b"], "c", "must be one of 'a', 'b'"),
        (int, "x", "must be a whole number"),
        (int, 1.5, "must be a whole number"),
        (int, "9" * 5000, "is too large a number"),
        (bool, "maybe", "must be true or false"),
        (dict[str, int], [], "must be a mapping of keys to values"),
        (list[int], {}, "must be a list"),
        (str, 1, "must be text"),
        (Annotated[str, Field(pattern="^a$")], "b", "String should match pattern '^a$'"),
    ],
)
def test_words(kind: Any, value: object, words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(kind).validate_python(value)
    assert complaint(caught.value.errors()[0]) == words
