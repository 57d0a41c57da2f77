"""Whole numbers as options may have them: one far beyond would be found only where it is allocated or drawn with."""

from typing import Annotated

from pydantic import Field

Seed = Annotated[int, Field(ge=0, lt=2**31)]
"""What every generator takes; those of NumPy take none below 0 or of more than 32 bits."""
BatchSize = Annotated[int, Field(gt=0, le=65_536)]
"""Images at once."""
Side = Annotated[int, Field(ge=1, le=8_192)]
"""Pixels of an image's height or width."""
Steps = Annotated[int, Field(ge=1, le=100_000)]
"""Of a diffusion process."""
Samples = Annotated[int, Field(ge=2, le=10_000_000)]
"""Images that are drawn or compared for one figure."""
Count = Annotated[int, Field(gt=0, le=10**12)]
"""Of anything that is only counted, such as the images of a training."""
