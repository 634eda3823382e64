"""What the arguments of all tools share: the base of their models, and the texts that several of them take, bounded."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

LONGEST_TITLE = 200
LONGEST_BODY = 20_000
LONGEST_QUERY = 400
LONGEST_SLUG = 80

Title = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_TITLE)]
Body = Annotated[str, StringConstraints(max_length=LONGEST_BODY)]
Query = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_QUERY)]
Slug = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_SLUG)]


class Arguments(BaseModel):
    """What all tools' arguments share: unknown fields are refused, and what was validated stays."""

    model_config = ConfigDict(extra="forbid", frozen=True)
